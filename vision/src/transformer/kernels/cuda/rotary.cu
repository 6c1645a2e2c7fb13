// Rotary positions, and keys and values taken out of what they were computed in, in one pass over memory.
//
// qkv: [rows, 3, heads, head_dim] of T, where row r is token r % tokens of its sequence; queries are rotated where they lie.
// cos, sin: [tokens, head_dim / 4] f32. k, v: [sequences, room, heads, head_dim] of T, of which tokens `at` to `at + tokens` of each
// sequence are written. The first half of a head's dimensions is
// rotated in pairs (j, j + head_dim / 4). One block a row. head_dim is a multiple of 4.
#include "warp.cuh"

template <typename T>
static __device__ void rotate(u32 tokens, u32 heads, u32 head_dim, u32 room, u32 at, T *qkv, const float *cos,
                              const float *sin, T *k, T *v) {
  const u32 half = head_dim / 4, width = heads * head_dim;
  const u64 row = blockIdx.x;
  T *q = qkv + row * 3 * width;
  const T *keys = q + width, *values = q + 2 * width;
  const u64 place = row / tokens * room + at + row % tokens;
  k += place * width;
  v += place * width;
  cos += (u64)(row % tokens) * half;
  sin += (u64)(row % tokens) * half;
  for (u32 i = threadIdx.x; i < heads * half; i += blockDim.x) {
    const u32 j = i % half, first = i / half * head_dim + j;
    const float c = cos[j], s = sin[j];
    const float q0 = to_float(q[first]), q1 = to_float(q[first + half]);
    q[first] = from_float<T>(q0 * c - q1 * s);
    q[first + half] = from_float<T>(q0 * s + q1 * c);
    const float k0 = to_float(keys[first]), k1 = to_float(keys[first + half]);
    k[first] = from_float<T>(k0 * c - k1 * s);
    k[first + half] = from_float<T>(k0 * s + k1 * c);
    // The other half of the head's keys as they are, in the same steps.
    k[first + 2 * half] = keys[first + 2 * half];
    k[first + 3 * half] = keys[first + 3 * half];
  }
  for (u32 i = threadIdx.x; i < width; i += blockDim.x) v[i] = values[i];
}

#define ROTATE(NAME, T)                                                                                                      \
  extern "C" __global__ void picsift_##NAME(u32 tokens, u32 heads, u32 head_dim, u32 room, u32 at, T *qkv, const float *cos, \
                                            const float *sin, T *k, T *v) {                                                  \
    rotate(tokens, heads, head_dim, room, at, qkv, cos, sin, k, v);                                                          \
  }

ROTATE(rotate_f32, float)
ROTATE(rotate_bf16, bf16)
