// The three instructions behind cosine_tensor.cuh, by name: copies into shared memory that run meanwhile,
// loads of 8 x 8 matrices into the layout of the tensor cores, and their product. tests/native/mma_on_host.h
// has them in plain C++.
#pragma once

#include "on_device.cuh"

#ifdef __CUDACC__
namespace radfast::cosine::device {

// Begins to copy 16 bytes to shared memory; both addresses are multiples of 16.
__device__ __forceinline__ void copy_later(u16* to, const u16* from) {
    const u32 address = static_cast<u32>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
// Copies begun since the last call are one group.
__device__ __forceinline__ void end_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until all but the last kLeft groups of this thread are there.
template <u32 kLeft>
__device__ __forceinline__ void await_groups() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}

// Four 8 x 8 matrices of halves: lane l names row l % 8 of matrix l / 8, and gets of matrix m, in parts[m],
// the two neighbours 2 (l % 4) and 2 (l % 4) + 1 of row l / 4.
__device__ __forceinline__ void load_matrices(u32 (&parts)[4], const u16* row) {
    const u32 address = static_cast<u32>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(parts[0]), "=r"(parts[1]), "=r"(parts[2]), "=r"(parts[3])
                 : "r"(address)
                 : "memory");
}

// sums (16 x 8) += a (16 x 16) b (16 x 8): halves in, float32 sums; lane l has of the sums row l / 4 (entries
// 0, 1) and l / 4 + 8 (2, 3), columns 2 (l % 4) and + 1.
__device__ __forceinline__ void multiply_add(float (&sums)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace radfast::cosine::device
#endif
