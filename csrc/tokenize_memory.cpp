#include "tokenize_memory.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace radfast {

#ifdef __linux__

namespace {

constexpr size_t kPage = 4096, kHugePage = 2 << 20;

size_t to_pages(size_t bytes) {
    const size_t page = bytes >= kHugePage ? kHugePage : kPage;
    return (bytes + page - 1) / page * page;
}

// Address space that begins with a huge page where it is as large as one.
char* map(size_t bytes) {
    const size_t slack = bytes >= kHugePage ? kHugePage : 0;
    void* const place = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) throw std::bad_alloc();
    char* const from = static_cast<char*>(place);
    if (slack == 0) return from;
    const size_t before = (kHugePage - reinterpret_cast<uintptr_t>(from) % kHugePage) % kHugePage;
    if (before > 0) munmap(from, before);
    munmap(from + before + bytes, slack - before);
    madvise(from + before, bytes, MADV_HUGEPAGE);
    return from + before;
}

// The last large region that was given up. The system may take its pages while it waits here.
class UsedRegion {
  public:
    static constexpr size_t kLeast = 8 << 20, kMost = 256 << 20;  // bytes

    // False where the region must be freed.
    bool put(char* data, size_t bytes) {
        if (bytes < kLeast || bytes > kMost) return false;
        const std::lock_guard lock(guard_);
        if (bytes_ > bytes) return false;
        if (madvise(data, bytes, MADV_FREE) != 0) return false;
        if (data_) munmap(data_, bytes_);
        data_ = data;
        bytes_ = bytes;
        return true;
    }

    // Null where there is none of `least` bytes.
    std::pair<char*, size_t> take(size_t least) {
        const std::lock_guard lock(guard_);
        if (bytes_ < least) return {nullptr, 0};
        return {std::exchange(data_, nullptr), std::exchange(bytes_, 0)};
    }

    static UsedRegion& get() {
        static UsedRegion* const used = new UsedRegion;  // outlives arrays that are freed at exit
        return *used;
    }

  private:
    std::mutex guard_;
    char* data_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace

Region::~Region() {
    const size_t held = to_pages(size_);
    if (data_ && !UsedRegion::get().put(data_, held)) munmap(data_, held);
}

void Region::grow_used(size_t bytes) {
    if (bytes >= UsedRegion::kLeast && bytes > size_) {
        const auto [place, held] = UsedRegion::get().take(bytes);
        if (place) {
            std::memcpy(place, data_, size_);
            if (data_) munmap(data_, to_pages(size_));
            data_ = place;
            size_ = held;
            return;
        }
    }
    resize(bytes);
}

void Region::resize(size_t bytes) {
    const size_t wanted = to_pages(bytes), held = to_pages(size_);
    if (wanted == 0) {
        Region().swap(*this);
        return;
    }
    // Bytes behind the end of the region are zero: a shrunken one is cleared there.
    if (bytes < size_) std::memset(data_ + bytes, 0, (wanted < size_ ? wanted : size_) - bytes);
    if (wanted < held) {
        munmap(data_ + wanted, held - wanted);
    } else if (wanted > held) {
        // Moved onto a place of our own choice, so that huge pages stay whole.
        char* const place = map(wanted);
        if (data_ && mremap(data_, held, held, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED) {
            munmap(place, wanted);
            throw std::bad_alloc();
        }
        data_ = place;
    }
    size_ = bytes;
}

#else

Region::~Region() { std::free(data_); }

void Region::grow_used(size_t bytes) { resize(bytes); }

void Region::resize(size_t bytes) {
    void* place = std::realloc(data_, bytes > 0 ? bytes : 1);
    if (!place) throw std::bad_alloc();
    data_ = static_cast<char*>(place);
    if (bytes > size_) std::memset(data_ + size_, 0, bytes - size_);
    size_ = bytes;
}

#endif

}  // namespace radfast
