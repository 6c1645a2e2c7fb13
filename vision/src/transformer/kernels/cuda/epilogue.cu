// What follows a matrix product: bias, activation, residual sum, in one pass over memory.
//
// x, y: [rows, width] of T, one row behind the other; bias: [width] of T; elements = rows * width, below 2^31. Any grid and block
// of one dimension. Computed in f32 and rounded once.
#include "warp.cuh"

// GELU in its tanh form: x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))).
static __device__ __forceinline__ float gelu(float x) {
  const float scale = -2.302208198f; // -2 sqrt(2 / pi) log2(e)
  return x / (1.0f + power_of_two(scale * (x + 0.044715f * x * x * x)));
}

enum Kind { ADD, GELU, RESIDUAL };

// 16 bytes.
template <typename T> struct alignas(16) Vector {
  static const int N = 16 / sizeof(T);
  T values[N];
};

template <Kind KIND, typename T> static __device__ __forceinline__ T apply(T y, T bias, T x) {
  const float sum = to_float(y) + to_float(bias);
  if (KIND == GELU) return from_float<T>(gelu(sum));
  if (KIND == RESIDUAL) return from_float<T>(to_float(x) + sum);
  return from_float<T>(sum);
}

// y = f(y + bias), or x + y + bias. `whole`: every address is a multiple of 16 bytes and so is a row.
template <Kind KIND, typename T>
static __device__ void epilogue(u64 elements, u32 width, u32 whole, T *y, const T *bias, const T *x) {
  const u64 first = (u64)blockIdx.x * blockDim.x + threadIdx.x, step = (u64)gridDim.x * blockDim.x;
  if (whole) {
    const int N = Vector<T>::N;
    Vector<T> *ys = reinterpret_cast<Vector<T> *>(y);
    const Vector<T> *biases = reinterpret_cast<const Vector<T> *>(bias);
    const Vector<T> *xs = reinterpret_cast<const Vector<T> *>(x);
    for (u64 i = first; i < elements / N; i += step) {
      Vector<T> out = ys[i], other = out;
      const Vector<T> b = biases[(u32)i % (width / N)];
      if (KIND == RESIDUAL) other = xs[i];
#pragma unroll
      for (int j = 0; j < N; j++) out.values[j] = apply<KIND>(out.values[j], b.values[j], other.values[j]);
      ys[i] = out;
    }
  } else {
    for (u64 i = first; i < elements; i += step) {
      const T y_i = y[i];
      y[i] = apply<KIND>(y_i, bias[(u32)i % width], KIND == RESIDUAL ? x[i] : y_i);
    }
  }
}

#define EPILOGUE(NAME, KIND, T)                                                                                              \
  extern "C" __global__ void picsift_##NAME(u64 elements, u32 width, u32 whole, T *y, const T *bias, const T *x) {           \
    epilogue<KIND>(elements, width, whole, y, bias, x);                                                                      \
  }

EPILOGUE(add_bias_f32, ADD, float)
EPILOGUE(add_bias_bf16, ADD, bf16)
EPILOGUE(bias_gelu_f32, GELU, float)
EPILOGUE(bias_gelu_bf16, GELU, bf16)
EPILOGUE(residual_f32, RESIDUAL, float)
EPILOGUE(residual_bf16, RESIDUAL, bf16)
