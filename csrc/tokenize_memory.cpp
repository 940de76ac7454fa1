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

size_t to_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

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
    if (wanted != held) {
        void* place = data_ ? mremap(data_, held, wanted, MREMAP_MAYMOVE)
                            : mmap(nullptr, wanted, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (place == MAP_FAILED) throw std::bad_alloc();
        data_ = static_cast<char*>(place);
        if (wanted >= kHugePage) madvise(data_, wanted, MADV_HUGEPAGE);
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
