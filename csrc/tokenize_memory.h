// Memory of the tokenizer: large regions that the system clears, and buffers that are used again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace radfast {

// Zeroed memory that grows and shrinks; large ones lie on huge pages where the system has them, so that the
// first touch costs one fault per 2 MiB and look-ups seldom miss the TLB, and grow without a copy.
class Region {
  public:
    Region() = default;
    explicit Region(size_t bytes) { resize(bytes); }
    Region(Region&& other) noexcept { swap(other); }
    Region& operator=(Region&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Region();

    // Keeps the first bytes; further ones are zero. The address may change. Throws std::bad_alloc.
    void resize(size_t bytes);

    // The same but for what further bytes hold: a large region that was given up last may come back with its
    // pages, since the first touch of fresh ones costs more than most of what is done with them.
    void grow_used(size_t bytes);

    char* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    void swap(Region& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }

    char* data_ = nullptr;
    size_t size_ = 0;
};

// An array that is not initialised and keeps its memory when it is cleared.
template <class T>
class Buffer {
  public:
    // Room for `more` items at the end.
    T* reserve(size_t more) {
        if (size_ + more > capacity_) grow(size_ + more);
        return data_.get() + size_;
    }
    void push(T item) {
        *reserve(1) = item;
        ++size_;
    }
    void set_size(size_t size) { size_ = size; }
    void clear() { size_ = 0; }

    T* data() const { return data_.get(); }
    T& operator[](size_t i) const { return data_[i]; }
    size_t size() const { return size_; }

  private:
    void grow(size_t least) {
        const size_t capacity = least + least / 2 + 64;
        std::unique_ptr<T[]> data(new T[capacity]);
        if (size_ > 0) std::memcpy(data.get(), data_.get(), size_ * sizeof(T));
        data_ = std::move(data);
        capacity_ = capacity;
    }

    std::unique_ptr<T[]> data_;
    size_t size_ = 0, capacity_ = 0;
};

}  // namespace radfast
