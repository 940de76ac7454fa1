// Runs the kernels of a .cu file on the host, so that their block logic is tested where there is no GPU.
// Include it, then the .cu. Blocks run one after the other; every thread of a block is a fiber that runs
// until it waits for its warp or its block. Threads take turns in rising or in falling order: results that
// differ tell of a missing barrier. A barrier that not all reach, and a collective that lanes have left, end
// the program with a message. Shared memory holds junk at the start of every block.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct Index {
    unsigned x, y, z;
};
struct float4 {
    float x, y, z, w;
};
static Index threadIdx, blockIdx, blockDim, gridDim;

namespace on_host {

constexpr unsigned kWarp = 32;
constexpr std::size_t kStack = 64 << 10;
constexpr std::size_t kArena = 256 << 10;

enum class State { ready, at_warp, at_block, done };

struct Fiber {
    ucontext_t start;
    jmp_buf at;
    State state;
    bool begun;
    unsigned collectives;
    std::vector<char> stack;
};

inline std::vector<Fiber> fibers;
inline unsigned running = 0, n_threads = 0;
inline jmp_buf scheduler;
inline std::function<void()> body;
alignas(128) inline unsigned char arena[kArena];
inline bool falling = false;
// Called at the start of every block.
inline std::function<void()> on_block = [] {};
// What lanes hand to each other; two sets, since a lane may be one collective ahead.
inline std::uint32_t boxes[2][1024][16];

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "cuda_on_host: %s (block %u, thread %u)\n", what, blockIdx.x, threadIdx.x);
    std::abort();
}

inline void wait(State state) {
    Fiber& self = fibers[running];
    self.state = state;
    if (!_setjmp(self.at)) _longjmp(scheduler, 1);
}

inline void enter() {
    body();
    fibers[running].state = State::done;
    _longjmp(scheduler, 1);
}

inline void resume(unsigned thread) {
    running = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x, 0};
    if (_setjmp(scheduler)) return;
    Fiber& fiber = fibers[thread];
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    setcontext(&fiber.start);
}

// Sets free those whose barrier is complete; false when nobody is.
inline bool release() {
    bool any = false, all_at_block = true, all_done = true;
    for (unsigned first = 0; first < n_threads; first += kWarp) {
        const unsigned last = std::min(first + kWarp, n_threads);
        unsigned at_warp = 0, done = 0;
        for (unsigned t = first; t < last; ++t) {
            at_warp += fibers[t].state == State::at_warp;
            done += fibers[t].state == State::done;
            all_at_block &= fibers[t].state == State::at_block;
        }
        all_done &= done == last - first;
        if (at_warp == last - first) {
            for (unsigned t = first; t < last; ++t) fibers[t].state = State::ready;
            any = true;
        }
    }
    if (all_at_block) {
        for (unsigned t = 0; t < n_threads; ++t) fibers[t].state = State::ready;
        any = true;
    }
    return any || all_done;
}

inline void run_block() {
    std::memset(arena, 0xA5, sizeof arena);
    on_block();
    for (unsigned t = 0; t < n_threads; ++t) {
        Fiber& fiber = fibers[t];
        fiber.state = State::ready;
        fiber.begun = false;
        fiber.collectives = 0;
        fiber.stack.resize(kStack);
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.data();
        fiber.start.uc_stack.ss_size = kStack;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, enter, 0);
    }
    for (bool alive = true; alive;) {
        alive = false;
        for (unsigned i = 0; i < n_threads; ++i) {
            const unsigned t = falling ? n_threads - 1 - i : i;
            if (fibers[t].state == State::ready) resume(t);
            alive |= fibers[t].state != State::done;
        }
        if (!release()) fail("threads wait at barriers that the others do not reach");
    }
}

inline void launch(const std::function<void()>& kernel, const unsigned* grid, const unsigned* block) {
    gridDim = {grid[0], grid[1], 1};
    blockDim = {block[0], block[1], 1};
    n_threads = block[0] * block[1];
    if (n_threads > 1024 || n_threads % kWarp) fail("blocks must be whole warps of at most 1024 threads");
    if (fibers.size() < n_threads) fibers.resize(n_threads);
    body = kernel;
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y) {
        for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) run_block();
    }
}

// Hands `words` values to the warp; the result is the set of boxes to read those of all lanes from.
template <int words>
const std::uint32_t (*exchange(const std::uint32_t (&values)[words]))[16] {
    static_assert(words <= 16);
    const unsigned set = fibers[running].collectives++ & 1;
    std::memcpy(boxes[set][running], values, sizeof values);
    wait(State::at_warp);
    return boxes[set] + running / kWarp * kWarp;
}

// Calls kernel(arguments...) from an array of pointers to them.
template <typename... A, std::size_t... i>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<i...>) {
    kernel(*static_cast<A*>(arguments[i])...);
}
template <typename... A>
void launch_kernel(void (*kernel)(A...), const unsigned* grid, const unsigned* block, void** arguments) {
    launch([=] { call(kernel, arguments, std::index_sequence_for<A...>{}); }, grid, block);
}

// One letter per argument, as NumPy names its types; p for pointers.
template <typename T>
constexpr char kind_of() {
    if (std::is_pointer_v<T>) return 'p';
    if (std::is_floating_point_v<T>) return sizeof(T) == 4 ? 'f' : 'd';
    return sizeof(T) == 8 ? (std::is_signed_v<T> ? 'q' : 'Q') : (std::is_signed_v<T> ? 'i' : 'I');
}
template <typename... A>
const char* kinds_of(void (*)(A...)) {
    static const char kinds[] = {kind_of<A>()..., 0};
    return kinds;
}

}  // namespace on_host

#define RADFAST_ARENA(name) unsigned char* name = on_host::arena
#define RADFAST_EXPORT(name)                                                                       \
    extern "C" void launch_##name(const unsigned* grid, const unsigned* block, void** arguments) { \
        on_host::launch_kernel(name, grid, block, arguments);                                      \
    }                                                                                              \
    extern "C" const char* kinds_##name = on_host::kinds_of(name);
extern "C" void set_falling(int yes) { on_host::falling = yes; }

inline void __syncthreads() { on_host::wait(on_host::State::at_block); }
inline void __syncwarp(unsigned = 0xFFFFFFFFu) { on_host::wait(on_host::State::at_warp); }

template <typename T>
T __shfl_sync(unsigned, T value, unsigned lane) {
    std::uint32_t bits[2] = {};
    static_assert(sizeof value <= sizeof bits);
    std::memcpy(bits, &value, sizeof value);
    std::memcpy(&value, on_host::exchange(bits)[lane % on_host::kWarp], sizeof value);
    return value;
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned other) {
    return __shfl_sync(mask, value, (on_host::running % on_host::kWarp) ^ other);
}
inline unsigned __ballot_sync(unsigned, bool yes) {
    const auto* all = on_host::exchange<1>({yes});
    unsigned mask = 0;
    for (unsigned lane = 0; lane < on_host::kWarp; ++lane) mask |= all[lane][0] << lane;
    return mask;
}
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

template <typename T>
T atomicAdd(T* at, T value) {
    const T old = *at;
    *at += value;
    return old;
}
template <typename T>
T atomicMin(T* at, T value) {
    const T old = *at;
    *at = std::min(old, value);
    return old;
}
template <typename T>
T atomicMax(T* at, T value) {
    const T old = *at;
    *at = std::max(old, value);
    return old;
}
