// Softmax attention over keys in one or two pieces, without the scores in memory (Dao et al., arXiv:2205.14135).
//
// q: [batch, rows, heads, D], out: [batch, rows, heads, D]; k, v of each piece: [batch, keys, heads, D]. All of one type; elements of
// a token are neighbours, sequences and tokens lie `batch` and `token` elements apart. All keys are seen, but of the last piece
// those only whose bit is set in mask: [rows, words] of u32, key i in bit i % 32 of word i / 32; mask is null where all are.
// A row that sees nothing gives NaN. `scale` is 1 / sqrt(D).
#include "warp.cuh"

struct Matrix {
  const void *at;
  u64 batch, token;
};

struct Piece {
  Matrix k, v;
  u32 keys;
};

struct Arguments {
  Matrix q;
  void *out;
  Piece pieces[2];
  const u32 *mask;
  u32 count, rows, heads, words;
  float scale;
};

#define LOG2_E 1.4426950408889634f

// bf16 by the matrix units. Grid: [rows / 128 rounded up, heads, batch], 128 threads: each warp has 32 rows, and all of them go
// together through tiles of KEYS keys. D is a multiple of 8; addresses and steps are multiples of 8 elements.
template <int D, int KEYS> static __device__ void attention_bf16(const Arguments &arguments) {
  // Of a warp: rows in products of 16, dimensions in steps of 16 (the last may be half empty), keys in steps of 8.
  constexpr int M = 2, ROWS = 128, STEPS = (D + 15) / 16, TILES = KEYS / 8;
  // So far apart that the threads of a load meet in no bank.
  constexpr int PITCH = STEPS * 16 + 8;
  __shared__ __align__(16) bf16 keys[KEYS][PITCH], values[KEYS][PITCH];

  const int lane = threadIdx.x % 32, group = lane / 4, pair = 2 * (lane % 4);
  const int first = (int)blockIdx.x * ROWS + (int)threadIdx.x / 32 * 16 * M;
  const int rows = (int)arguments.rows;
  const u64 head = (u64)blockIdx.y * D, image = blockIdx.z;

  // Queries as the products take them. Rows that are not there are 0 and not written.
  u32 q[M][STEPS][4];
#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int step = 0; step < STEPS; step++)
#pragma unroll
      for (int part = 0; part < 4; part++) {
        const int row = first + m * 16 + group + part % 2 * 8, column = step * 16 + pair + part / 2 * 8;
        const bf16 *source = (const bf16 *)arguments.q.at + image * arguments.q.batch + (u64)row * arguments.q.token + head;
        q[m][step][part] = row < rows && column < D ? *(const u32 *)(source + column) : 0u;
      }

  // Columns beyond D, which are multiplied with 0 and must be numbers.
  for (int column = D; column < STEPS * 16; column++)
    for (int row = threadIdx.x; row < KEYS; row += blockDim.x) keys[row][column] = bf16{0};

  float out[M][D / 8][4] = {}, top[M][2], sum[M][2] = {};
#pragma unroll
  for (int m = 0; m < M; m++) top[m][0] = top[m][1] = -INFINITY;
  const float scale = arguments.scale * LOG2_E;

  for (u32 index = 0; index < arguments.count; index++) {
    const Piece &piece = arguments.pieces[index];
    const bool masked = arguments.mask && index + 1 == arguments.count;
    const int count = (int)piece.keys;
    for (int start = 0; start < count; start += KEYS) {
      // Which of the tile's keys this thread's rows see; a tile that none of the block's rows sees is passed over.
      u32 seen[M][2][KEYS / 32];
      if (masked) {
        u32 any = 0;
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
          for (int half = 0; half < 2; half++)
#pragma unroll
            for (int word = 0; word < KEYS / 32; word++) {
              const int row = first + m * 16 + group + half * 8, at = start / 32 + word;
              const bool there = row < rows && at < (int)arguments.words;
              seen[m][half][word] = there ? arguments.mask[(u64)row * arguments.words + at] : 0u;
              any |= seen[m][half][word];
            }
        if (!__syncthreads_or(any != 0)) continue;
      } else {
        __syncthreads();
      }
      for (int i = threadIdx.x; i < KEYS * (D / 8); i += blockDim.x) {
        const int row = i / (D / 8), column = i % (D / 8) * 8;
        uint4 k = {0, 0, 0, 0}, v = {0, 0, 0, 0};
        if (start + row < count) {
          const bf16 *k_row = (const bf16 *)piece.k.at + image * piece.k.batch + (u64)(start + row) * piece.k.token + head;
          const bf16 *v_row = (const bf16 *)piece.v.at + image * piece.v.batch + (u64)(start + row) * piece.v.token + head;
          k = *(const uint4 *)(k_row + column);
          v = *(const uint4 *)(v_row + column);
        }
        *(uint4 *)&keys[row][column] = k;
        *(uint4 *)&values[row][column] = v;
      }
      __syncthreads();

      float scores[M][TILES][4] = {};
#pragma unroll
      for (int step = 0; step < STEPS; step++)
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
          const bf16 *key = &keys[tile * 8 + group][step * 16 + pair];
          const u32 b0 = *(const u32 *)key, b1 = *(const u32 *)(key + 8);
#pragma unroll
          for (int m = 0; m < M; m++) multiply(scores[m][tile], q[m][step], b0, b1);
        }

      // Four threads have each row: the highest score so far, and what was summed before in its measure.
#pragma unroll
      for (int m = 0; m < M; m++) {
        float high[2] = {-INFINITY, -INFINITY};
#pragma unroll
        for (int tile = 0; tile < TILES; tile++)
#pragma unroll
          for (int part = 0; part < 4; part++) {
            const int key = tile * 8 + pair + part % 2, half = part / 2;
            float score = scores[m][tile][part] * scale;
            if (start + key >= count || (masked && !(seen[m][half][key / 32] >> key % 32 & 1))) score = -INFINITY;
            scores[m][tile][part] = score;
            high[half] = fmaxf(high[half], score);
          }
#pragma unroll
        for (int half = 0; half < 2; half++) {
          high[half] = fmaxf(high[half], exchange(high[half], 1));
          high[half] = fmaxf(high[half], exchange(high[half], 2));
          high[half] = fmaxf(high[half], top[m][half]);
          // Where nothing is seen yet, anything but infinity.
          const float measure = high[half] == -INFINITY ? 0.0f : high[half];
          const float before = power_of_two(top[m][half] - measure);
          top[m][half] = high[half];
          sum[m][half] *= before;
#pragma unroll
          for (int tile = 0; tile < D / 8; tile++) {
            out[m][tile][2 * half] *= before;
            out[m][tile][2 * half + 1] *= before;
          }
#pragma unroll
          for (int tile = 0; tile < TILES; tile++)
#pragma unroll
            for (int part = 2 * half; part < 2 * half + 2; part++) {
              const float weight = power_of_two(scores[m][tile][part] - measure);
              scores[m][tile][part] = weight;
              sum[m][half] += weight;
            }
        }
      }

      // 32 keys at a time: weights of two products of 16 keys, values of both by one load.
#pragma unroll
      for (int step = 0; step < KEYS / 32; step++) {
        u32 weights[M][2][4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
          for (int part = 0; part < 2; part++) {
            const float(&left)[4] = scores[m][step * 4 + part * 2], (&right)[4] = scores[m][step * 4 + part * 2 + 1];
            weights[m][part][0] = pack(left[0], left[1]);
            weights[m][part][1] = pack(left[2], left[3]);
            weights[m][part][2] = pack(right[0], right[1]);
            weights[m][part][3] = pack(right[2], right[3]);
          }
#pragma unroll
        for (int tile = 0; tile < D / 8; tile++) {
          u32 value[4];
          load_transposed(value, &values[step * 32 + lane][tile * 8]);
#pragma unroll
          for (int m = 0; m < M; m++) {
            multiply(out[m][tile], weights[m][0], value[0], value[1]);
            multiply(out[m][tile], weights[m][1], value[2], value[3]);
          }
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < M; m++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      float all = sum[m][half];
      all += exchange(all, 1);
      all += exchange(all, 2);
      const float factor = 1.0f / all;
      const int row = first + m * 16 + group + half * 8;
      if (row < rows) {
        bf16 *target = (bf16 *)arguments.out + (image * rows + row) * (u64)arguments.heads * D + head;
#pragma unroll
        for (int tile = 0; tile < D / 8; tile++)
          *(u32 *)(target + tile * 8 + pair) = pack(out[m][tile][2 * half] * factor, out[m][tile][2 * half + 1] * factor);
      }
    }
}

// f32, to see what bf16 costs: a warp for each row, 32 keys at a time, a thread for each key and then for each dimension. Grid:
// [rows / 4 rounded up, heads, batch], 128 threads. D is at most 96.
template <int D> static __device__ void attention_f32(const Arguments &arguments) {
  constexpr int PARTS = (D + 31) / 32;
  const int lane = threadIdx.x % 32;
  const u64 row = (u64)blockIdx.x * 4 + threadIdx.x / 32, head = (u64)blockIdx.y * D, image = blockIdx.z;
  if (row >= arguments.rows) return;
  const float *q = (const float *)arguments.q.at + image * arguments.q.batch + row * arguments.q.token + head;
  float out[PARTS] = {}, top = -INFINITY, sum = 0.0f;
  for (u32 index = 0; index < arguments.count; index++) {
    const Piece &piece = arguments.pieces[index];
    const bool masked = arguments.mask && index + 1 == arguments.count;
    const float *k = (const float *)piece.k.at + image * piece.k.batch + head;
    const float *v = (const float *)piece.v.at + image * piece.v.batch + head;
    for (u32 start = 0; start < piece.keys; start += 32) {
      const u32 key = start + lane;
      const u32 word = masked ? arguments.mask[row * arguments.words + start / 32] : 0xffffffffu;
      if (word == 0) continue;
      float score = -INFINITY;
      if (key < piece.keys && (word >> lane & 1)) {
        score = 0.0f;
        for (int d = 0; d < D; d++) score += q[d] * k[(u64)key * piece.k.token + d];
        score *= arguments.scale * LOG2_E;
      }
      float high = score;
      for (int bit = 1; bit < 32; bit *= 2) high = fmaxf(high, exchange(high, bit));
      high = fmaxf(high, top);
      const float measure = high == -INFINITY ? 0.0f : high;
      const float before = power_of_two(top - measure), weight = power_of_two(score - measure);
      top = high;
      float all = weight;
      for (int bit = 1; bit < 32; bit *= 2) all += exchange(all, bit);
      sum = sum * before + all;
#pragma unroll
      for (int part = 0; part < PARTS; part++) out[part] *= before;
      for (int i = 0; i < 32 && start + i < piece.keys; i++) {
        const float w = broadcast(weight, i);
#pragma unroll
        for (int part = 0; part < PARTS; part++) {
          const int d = part * 32 + lane;
          if (d < D) out[part] += w * v[(u64)(start + i) * piece.v.token + d];
        }
      }
    }
  }
  float *target = (float *)arguments.out + (image * arguments.rows + row) * (u64)arguments.heads * D + head;
#pragma unroll
  for (int part = 0; part < PARTS; part++)
    if (part * 32 + lane < D) target[part * 32 + lane] = out[part] / sum;
}

extern "C" __global__ void __launch_bounds__(128) picsift_attention_64_bf16(const Arguments arguments) {
  attention_bf16<64, 64>(arguments);
}
extern "C" __global__ void __launch_bounds__(128) picsift_attention_72_bf16(const Arguments arguments) {
  attention_bf16<72, 32>(arguments);
}
extern "C" __global__ void __launch_bounds__(128) picsift_attention_64_f32(const Arguments arguments) {
  attention_f32<64>(arguments);
}
extern "C" __global__ void __launch_bounds__(128) picsift_attention_72_f32(const Arguments arguments) {
  attention_f32<72>(arguments);
}
