// The likeliest token of each row of logits, so that a word costs four bytes of a copy back and not a row.
//
// logits: [rows, width] of T, width below 2^24; chosen: [rows], written: the index of the highest, the first of equals, `barred`
// aside; width itself where one is NaN or infinite, or none is left. One block a row, whole warps, at most 32.
#include "warp.cuh"

// The higher of two, of equals the one that comes first.
static __device__ __forceinline__ void keep(float &top, float &place, float other, float other_place) {
  if (other > top || (other == top && other_place < place)) {
    top = other;
    place = other_place;
  }
}

template <typename T> static __device__ void choose(u32 width, u32 barred, const T *logits, u32 *chosen) {
  // Indices are whole numbers that a float holds, so that they take the way of the values.
  __shared__ float tops[32], places[32];
  logits += (u64)blockIdx.x * width;
  float top = -INFINITY, place = (float)width;
  int wrong = 0;
  for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
    const float x = to_float(logits[i]);
    wrong |= !(x - x == 0.0f);
    if (i != barred) keep(top, place, x, (float)i);
  }
  for (int bits = 16; bits > 0; bits /= 2) {
    const float other = exchange(top, bits), other_place = exchange(place, bits);
    keep(top, place, other, other_place);
  }
  if (threadIdx.x % 32 == 0) {
    tops[threadIdx.x / 32] = top;
    places[threadIdx.x / 32] = place;
  }
  // Waits for the block, too.
  wrong = __syncthreads_or(wrong);
  if (threadIdx.x > 0) return;
  for (u32 warp = 1; warp < blockDim.x / 32; warp++) keep(top, place, tops[warp], places[warp]);
  chosen[blockIdx.x] = wrong ? width : (u32)place;
}

#define CHOOSE(NAME, T)                                                                                                      \
  extern "C" __global__ void picsift_##NAME(u32 width, u32 barred, const T *logits, u32 *chosen) {                           \
    choose(width, barred, logits, chosen);                                                                                   \
  }

CHOOSE(choose_f32, float)
CHOOSE(choose_bf16, bf16)
