#include "tokenize_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "tokenize_parallel.h"

namespace radfast {

namespace {

constexpr uint64_t kMostWaiting = 32;     // units finished before their turn
constexpr size_t kMostKept = 16 << 20;    // numbers: larger units are not kept for reuse
constexpr size_t kFirstMemory = 1 << 20;  // bytes

void add_to(Buffer<int64_t>& items, int64_t start) {
    for (size_t i = 0; i < items.size(); ++i) items[i] += start;
}

}  // namespace

void Unit::clear() {
    numbers.clear();
    spans.clear();
    document_ends.clear();
    sentence_ends.clear();
    document_sentences.clear();
}

Column::Column(const std::string& path)
    : file_(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)), path_(path) {
    if (file_ < 0) throw std::system_error(errno, std::generic_category(), path);
}

Column::~Column() {
    if (file_ >= 0) close(file_);
}

void Column::reserve(size_t size) {
    if (in_file() || size <= memory_.size()) return;
    const std::unique_lock lock(moves_);
    memory_.grow_used(std::max(2 * size, kFirstMemory));
}

void Column::write(size_t at, const void* data, size_t bytes) {
    if (!in_file()) {
        const std::shared_lock lock(moves_);
        if (bytes > 0) std::memcpy(memory_.data() + at, data, bytes);
        return;
    }
    const char* from = static_cast<const char*>(data);
    for (size_t place = kHead + at; bytes > 0;) {
        const ssize_t done = pwrite(file_, from, bytes, static_cast<off_t>(place));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) throw std::system_error(done < 0 ? errno : EIO, std::generic_category(), path_);
        place += static_cast<size_t>(done);
        from += done;
        bytes -= static_cast<size_t>(done);
    }
}

void Column::read(size_t at, void* data, size_t bytes) const {
    if (!in_file()) {
        if (bytes > 0) std::memcpy(data, memory_.data() + at, bytes);
        return;
    }
    char* to = static_cast<char*>(data);
    for (size_t place = kHead + at; bytes > 0;) {
        const ssize_t done = pread(file_, to, bytes, static_cast<off_t>(place));
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) throw std::system_error(done < 0 ? errno : EIO, std::generic_category(), path_);
        place += static_cast<size_t>(done);
        to += done;
        bytes -= static_cast<size_t>(done);
    }
}

void Column::end(size_t size) {
    if (!in_file()) {
        memory_.resize(size);
    } else if (ftruncate(file_, static_cast<off_t>(kHead + size)) != 0) {
        throw std::system_error(errno, std::generic_category(), path_);
    }
}

CorpusStore::CorpusStore(const std::string& folder, bool sentences, bool spans) {
    const auto make = [&](const char* name) {
        return folder.empty() ? std::make_unique<Column>()
                              : std::make_unique<Column>(folder + "/" + name + ".npy.part");
    };
    tokens_ = make("tokens");
    indptr_ = make("indptr");
    if (spans) spans_ = make("spans");
    if (sentences) {
        sentences_ = make("sentences");
        sentence_indptr_ = make("sentence_indptr");
    }
    for (Column* ends : {indptr_.get(), sentences_.get(), sentence_indptr_.get()}) {
        const int64_t zero = 0;
        if (!ends) continue;
        ends->reserve(sizeof zero);
        ends->write(0, &zero, sizeof zero);
    }
}

std::unique_ptr<Unit> CorpusStore::start(uint64_t order) {
    std::unique_lock lock(guard_);
    moved_on_.wait(lock, [&] { return aborted_ || order < next_ + kMostWaiting; });
    if (aborted_) throw std::runtime_error("[Tokenizer] stopped");
    if (idle_.empty()) return std::make_unique<Unit>();
    std::unique_ptr<Unit> unit = std::move(idle_.back());
    idle_.pop_back();
    unit->clear();
    return unit;
}

void CorpusStore::abort() {
    const std::lock_guard lock(guard_);
    aborted_ = true;
    moved_on_.notify_all();
}

CorpusStore::Placed CorpusStore::place(const Unit& unit) {
    const Placed placed{unit.worker,  unit.numbers.size(),       n_tokens_,   unit.sentence_ends.size(),
                        n_sentences_, unit.document_ends.size(), n_documents_};
    n_tokens_ += placed.tokens;
    n_sentences_ += placed.sentences;
    n_documents_ += placed.documents;
    tokens_->reserve(n_tokens_ * sizeof(uint32_t));
    indptr_->reserve((n_documents_ + 1) * sizeof(int64_t));
    if (spans_) spans_->reserve(n_tokens_ * 2 * sizeof(uint32_t));
    if (sentences_) {
        sentences_->reserve((n_sentences_ + 1) * sizeof(int64_t));
        sentence_indptr_->reserve((n_documents_ + 1) * sizeof(int64_t));
    }
    placed_.push_back(placed);
    return placed;
}

void CorpusStore::write(const Placed& placed, Unit& unit) {
    const auto put = [](Column& column, uint64_t at, auto& items, size_t size) {
        column.write(at * sizeof(items[0]), items.data(), size * sizeof(items[0]));
    };
    put(*tokens_, placed.first_token, unit.numbers, placed.tokens);
    if (spans_) put(*spans_, 2 * placed.first_token, unit.spans, 2 * placed.tokens);
    add_to(unit.document_ends, static_cast<int64_t>(placed.first_token));
    put(*indptr_, placed.first_document + 1, unit.document_ends, placed.documents);
    if (!sentences_) return;
    add_to(unit.sentence_ends, static_cast<int64_t>(placed.first_token));
    put(*sentences_, placed.first_sentence + 1, unit.sentence_ends, placed.sentences);
    add_to(unit.document_sentences, static_cast<int64_t>(placed.first_sentence));
    put(*sentence_indptr_, placed.first_document + 1, unit.document_sentences, placed.documents);
}

void CorpusStore::put(uint64_t order, std::unique_ptr<Unit> unit) {
    std::vector<std::pair<Placed, std::unique_ptr<Unit>>> ready;
    {
        const std::lock_guard lock(guard_);
        waiting_[order] = std::move(unit);
        for (auto first = waiting_.begin(); first != waiting_.end() && first->first == next_; ++next_) {
            ready.emplace_back(place(*first->second), std::move(first->second));
            first = waiting_.erase(first);
        }
        if (!ready.empty()) moved_on_.notify_all();
    }
    for (auto& [placed, done] : ready) {
        write(placed, *done);
        if (done->numbers.size() > kMostKept) continue;
        const std::lock_guard lock(guard_);
        idle_.push_back(std::move(done));
    }
}

// The numbers of a unit under way from their provisional to their final place.
class CorpusStore::Renumbered {
  public:
    size_t kept = 0;
    Buffer<uint32_t> numbers, spans;
    Buffer<int64_t> ends;

    // Replaces numbers[0, count), closing the gaps, and remembers what stayed.
    void replace(const uint32_t* from, size_t count, const std::vector<int32_t>& final_of) {
        numbers.clear();
        masks_.clear();
        before_.clear();
        uint32_t* const to = numbers.reserve(count + 1);
        uint64_t* const masks = masks_.reserve(count / 64 + 1);
        uint64_t* const before = before_.reserve(count / 64 + 1);
        kept = 0;
        for (size_t base = 0; base <= count; base += 64) {
            const size_t stop = std::min<size_t>(64, count - base);
            uint64_t mask = 0;
            before[base / 64] = kept;
            for (size_t i = 0; i < stop; ++i) {
                const int32_t number = final_of[from[base + i]];
                to[kept] = static_cast<uint32_t>(number);
                kept += number >= 0;
                mask |= uint64_t{number >= 0} << i;
            }
            masks[base / 64] = mask;
        }
    }

    bool stays(size_t token) const { return masks_[token / 64] >> token % 64 & 1; }

    // Tokens that stayed, of the first `tokens`.
    int64_t rank(int64_t tokens) const {
        const auto at = static_cast<size_t>(tokens);
        const uint64_t below = (1ULL << at % 64) - 1;
        return static_cast<int64_t>(before_[at / 64]) + std::popcount(masks_[at / 64] & below);
    }

  private:
    Buffer<uint64_t> masks_, before_;
};

void CorpusStore::renumber_unit(const Placed& placed, const std::vector<int32_t>& final_of,
                                Renumbered& work) {
    const size_t at = placed.first_token * sizeof(uint32_t), bytes = placed.tokens * sizeof(uint32_t);
    Buffer<uint32_t> copy;
    if (tokens_->in_file()) tokens_->read(at, copy.reserve(placed.tokens), bytes);
    const uint32_t* from =
        tokens_->in_file() ? copy.data() : reinterpret_cast<const uint32_t*>(tokens_->memory() + at);
    work.replace(from, placed.tokens, final_of);
    if (!spans_) return;
    work.spans.clear();
    uint32_t* spans = work.spans.reserve(2 * placed.tokens);
    spans_->read(2 * at, spans, 2 * bytes);
    for (size_t i = 0, to = 0; i < placed.tokens; ++i) {
        spans[2 * to] = spans[2 * i];
        spans[2 * to + 1] = spans[2 * i + 1];
        to += work.stays(i);
    }
}

void CorpusStore::move_unit(const Placed& placed, uint64_t first_token, Renumbered& work) {
    const size_t at = first_token * sizeof(uint32_t), bytes = work.kept * sizeof(uint32_t);
    tokens_->write(at, work.numbers.data(), bytes);
    if (spans_) spans_->write(2 * at, work.spans.data(), 2 * bytes);
    const auto move_ends = [&](Column& column, uint64_t first, uint64_t count) {
        work.ends.clear();
        int64_t* const ends = work.ends.reserve(count);
        column.read((first + 1) * sizeof(int64_t), ends, count * sizeof(int64_t));
        for (size_t i = 0; i < count; ++i) {
            ends[i] = static_cast<int64_t>(first_token) +
                      work.rank(ends[i] - static_cast<int64_t>(placed.first_token));
        }
        column.write((first + 1) * sizeof(int64_t), ends, count * sizeof(int64_t));
    };
    move_ends(*indptr_, placed.first_document, placed.documents);
    if (sentences_) move_ends(*sentences_, placed.first_sentence, placed.sentences);
}

void CorpusStore::replace_unit(const Placed& placed, const std::vector<int32_t>& final_of,
                               Buffer<uint32_t>& copy) {
    const size_t at = placed.first_token * sizeof(uint32_t), bytes = placed.tokens * sizeof(uint32_t);
    uint32_t* numbers = reinterpret_cast<uint32_t*>(tokens_->memory() + at);
    if (tokens_->in_file()) {
        copy.clear();
        numbers = copy.reserve(placed.tokens);
        tokens_->read(at, numbers, bytes);
    }
    const int32_t* const number_of = final_of.data();
    for (size_t i = 0; i < placed.tokens; ++i) numbers[i] = static_cast<uint32_t>(number_of[numbers[i]]);
    if (tokens_->in_file()) tokens_->write(at, numbers, bytes);
}

void CorpusStore::renumber(const std::vector<std::vector<int32_t>>& final_of, bool drops, unsigned threads) {
    if (!drops) {
        std::vector<Buffer<uint32_t>> copies(threads);
        share(placed_.size(), threads, [&](unsigned thread, size_t item) {
            replace_unit(placed_[item], final_of[placed_[item].worker], copies[thread]);
        });
        return;
    }
    // A unit moves down once all before it have been read, which is when its place is known.
    std::vector<Renumbered> work(threads);
    std::mutex guard;
    std::condition_variable moved_on;
    size_t next = 0;
    uint64_t first_token = 0;
    bool failed = false;
    const auto run = [&](unsigned thread, size_t item) {
        const Placed& placed = placed_[item];
        renumber_unit(placed, final_of[placed.worker], work[thread]);
        uint64_t first = 0;
        {
            std::unique_lock lock(guard);
            moved_on.wait(lock, [&] { return failed || next == item; });
            if (failed) return;
            first = std::exchange(first_token, first_token + work[thread].kept);
            ++next;
            moved_on.notify_all();
        }
        move_unit(placed, first, work[thread]);
    };
    share(placed_.size(), threads, [&](unsigned thread, size_t item) {
        try {
            run(thread, item);
        } catch (...) {
            const std::lock_guard lock(guard);
            failed = true;
            moved_on.notify_all();
            throw;
        }
    });
    n_tokens_ = first_token;
}

void CorpusStore::end() {
    tokens_->end(n_tokens_ * sizeof(uint32_t));
    indptr_->end((n_documents_ + 1) * sizeof(int64_t));
    if (spans_) spans_->end(n_tokens_ * 2 * sizeof(uint32_t));
    if (sentences_) {
        sentences_->end((n_sentences_ + 1) * sizeof(int64_t));
        sentence_indptr_->end((n_documents_ + 1) * sizeof(int64_t));
    }
}

}  // namespace radfast
