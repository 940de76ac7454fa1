// csrc/cosine_mma.cuh in plain C++, after the layouts that the PTX manual gives: copies that arrive as late
// as the program allows, loads of matrices, products on the tensor cores.
#pragma once

#include <array>

#include "../../csrc/cosine.cuh"

namespace on_host {

struct Copy {
    u16* to;
    const u16* from;
};
// Per thread: groups of copies that have not arrived; the last one is still open.
inline std::vector<std::vector<Copy>> groups[1024];

inline void clear_copies() {
    for (auto& of_thread : groups) of_thread.assign(1, {});
}

}  // namespace on_host

namespace radfast::cosine::device {

inline void copy_later(u16* to, const u16* from) {
    if (reinterpret_cast<std::uintptr_t>(to) % 16 || reinterpret_cast<std::uintptr_t>(from) % 16) {
        on_host::fail("a copy of 16 bytes is not aligned");
    }
    auto& mine = on_host::groups[on_host::running];
    if (mine.empty()) mine.emplace_back();
    mine.back().push_back({to, from});
}
inline void end_group() {
    auto& mine = on_host::groups[on_host::running];
    if (mine.empty()) mine.emplace_back();
    mine.emplace_back();
}
template <u32 left>
void await_groups() {
    auto& mine = on_host::groups[on_host::running];
    while (mine.size() > left + 1) {
        for (const on_host::Copy& copy : mine.front()) std::memcpy(copy.to, copy.from, 16);
        mine.erase(mine.begin());
    }
}

inline void load_matrices(u32 (&parts)[4], const u16* row) {
    std::uint32_t address[2];
    std::memcpy(address, &row, sizeof row);
    const auto* all = on_host::exchange(address);
    const unsigned lane = on_host::running % on_host::kWarp;
    for (unsigned m = 0; m < 4; ++m) {
        const u16* from;
        std::memcpy(&from, all[8 * m + lane / 4], sizeof from);
        std::memcpy(&parts[m], from + 2 * (lane % 4), 4);
    }
    __syncwarp();  // shared memory may change after this
}

inline float as_float(u32 pair, unsigned which) {
    static const std::vector<float> all = [] {
        std::vector<float> table(1 << 16);
        for (unsigned i = 0; i < table.size(); ++i) table[i] = half_to_float(static_cast<u16>(i));
        return table;
    }();
    return all[(pair >> (16 * which)) & 0xFFFF];
}

inline void multiply_add(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    const auto* all = on_host::exchange<6>({a[0], a[1], a[2], a[3], b0, b1});
    const unsigned lane = on_host::running % on_host::kWarp;
    for (unsigned c = 0; c < 4; ++c) {
        const unsigned row = lane / 4 + c / 2 * 8, column = 2 * (lane % 4) + c % 2;
        for (unsigned k = 0; k < 16; ++k) {
            const float left = as_float(all[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2);
            const float right = as_float(all[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
            sums[c] += left * right;
        }
    }
}

}  // namespace radfast::cosine::device
