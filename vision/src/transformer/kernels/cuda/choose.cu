// The likeliest token of each row of logits.
//
// logits: [rows, width] of T, one row behind the other, width below 2^31; chosen: [rows], the index of the row's highest, the first of
// equals, `barred` aside (which bars nothing where it is `width` or more). 2^32 - 1 where one of the row is NaN or infinite, or none is
// left. One block of 256 threads a row.
#include "warp.cuh"

static const u32 CHOOSERS = 256;
static const u32 NOTHING = 0xffffffffu;

template <typename T>
static __device__ __forceinline__ void choose(u32 width, u32 barred, const T *logits, u32 *chosen) {
  __shared__ float tops[CHOOSERS];
  __shared__ u32 places[CHOOSERS];
  const u32 me = threadIdx.x;
  logits += (u64)blockIdx.x * width;
  float top = 0;
  u32 place = NOTHING;
  int wrong = 0;
  for (u32 i = me; i < width; i += CHOOSERS) {
    const float x = to_float(logits[i]);
    wrong |= !(x - x == 0.0f);
    if (i != barred && (place == NOTHING || x > top)) {
      top = x;
      place = i;
    }
  }
  wrong = __syncthreads_or(wrong);
  tops[me] = top;
  places[me] = place;
  for (u32 half = CHOOSERS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half && places[me + half] != NOTHING) {
      const bool first = places[me + half] < places[me];
      const float other = tops[me + half];
      if (places[me] == NOTHING || other > tops[me] || (other == tops[me] && first)) {
        tops[me] = other;
        places[me] = places[me + half];
      }
    }
  }
  if (me == 0) chosen[blockIdx.x] = wrong ? NOTHING : places[0];
}

#define CHOOSE(NAME, T)                                                                                                      \
  extern "C" __global__ void picsift_##NAME(u32 width, u32 barred, const T *logits, u32 *chosen) {                           \
    choose(width, barred, logits, chosen);                                                                                   \
  }

CHOOSE(choose_f32, float)
CHOOSE(choose_bf16, bf16)
