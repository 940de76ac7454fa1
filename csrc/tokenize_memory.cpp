#include "tokenize_memory.h"

#include <cstdlib>
#include <new>

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

}  // namespace

Region::~Region() {
    if (data_) munmap(data_, to_pages(size_));
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

void Region::resize(size_t bytes) {
    void* place = std::realloc(data_, bytes > 0 ? bytes : 1);
    if (!place) throw std::bad_alloc();
    data_ = static_cast<char*>(place);
    if (bytes > size_) std::memset(data_ + size_, 0, bytes - size_);
    size_ = bytes;
}

#endif

}  // namespace radfast
