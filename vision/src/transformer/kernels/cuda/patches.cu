// The vectors of a square picture's patches, from its bytes.
//
// pixels: [views, side, side, 3] bytes; vectors: [views, grid * grid, 3 * patch * patch] of T, patches row by row, each ordered
// channel, row, column; grid = side / patch, and what is left at the right and the bottom is left out. A byte x becomes
// (x / 255 - 0.5) / 0.5. One block a patch.
#include "warp.cuh"

template <typename T>
static __device__ void patches(u32 side, u32 patch, const unsigned char *pixels, T *vectors) {
  const u32 grid = side / patch, width = 3 * patch * patch;
  const u64 view = blockIdx.x / (grid * grid);
  const u32 place = blockIdx.x % (grid * grid);
  const u32 top = place / grid * patch, left = place % grid * patch;
  vectors += (u64)blockIdx.x * width;
  for (u32 i = threadIdx.x; i < width; i += blockDim.x) {
    const u32 channel = i / (patch * patch), row = i / patch % patch, column = i % patch;
    const u64 at = ((view * side + top + row) * side + left + column) * 3 + channel;
    vectors[i] = from_float<T>(((float)pixels[at] / 255.0f - 0.5f) / 0.5f);
  }
}

#define PATCHES(NAME, T)                                                                                                     \
  extern "C" __global__ void picsift_##NAME(u32 side, u32 patch, const unsigned char *pixels, T *vectors) {                  \
    patches(side, patch, pixels, vectors);                                                                                   \
  }

PATCHES(patches_f32, float)
PATCHES(patches_bf16, bf16)
