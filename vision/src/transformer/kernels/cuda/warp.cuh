// What a kernel asks of the hardware, under one name each: numbers of 16 bits, a warp's matrix product, exchanges between its threads.
//
// A kernel names nothing of CUDA's but what is here and the usual built-ins, so that it can be compiled for a CPU too, where
// `tests/kernels/emulated.h` takes the place of this file.
#pragma once
#ifdef PICSIFT_EMULATED
#include "emulated.h"
#else
#include <cuda_bf16.h>

typedef unsigned int u32;
typedef unsigned long long u64;

// A bf16 as its bits.
struct bf16 {
  unsigned short bits;
};

static __device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
static __device__ __forceinline__ float to_float(float x) { return x; }

template <typename T> static __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
  return bf16{__bfloat16_as_ushort(__float2bfloat16_rn(x))};
}

// Two neighbours in memory, the first in the low half.
static __device__ __forceinline__ u32 pack(float low, float high) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const u32 *>(&both);
}

// c += a b of a warp in f32: a is 16 x 16, row by row, b 16 x 8, column by column, both bf16. Thread t has of a the columns
// 2 (t % 4) and the next of rows t / 4 and t / 4 + 8, then the same 8 columns on; of b the rows 2 (t % 4) and the next of column
// t / 4, then 8 rows on; of c the columns 2 (t % 4) and the next of rows t / 4 and t / 4 + 8.
static __device__ __forceinline__ void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four 8 x 8 matrices of shared memory, transposed: thread t gives the address of row t % 8 of matrix t / 8, and gets of each matrix
// the rows 2 (t % 4) and the next of column t / 4.
static __device__ __forceinline__ void load_transposed(u32 (&x)[4], const bf16 *row) {
  const u32 address = (u32)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address)
               : "memory");
}

// The value of the thread whose number differs in these bits.
static __device__ __forceinline__ float exchange(float x, int bits) { return __shfl_xor_sync(0xffffffffu, x, bits); }
// The value of thread `lane` of the warp.
static __device__ __forceinline__ float broadcast(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
// 2^x.
static __device__ __forceinline__ float power_of_two(float x) { return exp2f(x); }
#endif
