// What every .cu and .cuh starts from: integer names that need no header (NVRTC, which compiles the kernels
// at first use, has none), and the mark of functions that run on the GPU and on the host alike.
#pragma once

using u16 = unsigned short;
using i32 = int;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

#ifdef __CUDACC__
#define RADFAST_BOTH __host__ __device__ __forceinline__
// Shared memory whose size the launch gives.
#define RADFAST_ARENA(name) extern __shared__ __align__(128) unsigned char name[]
#else
#define RADFAST_BOTH inline
#endif
