// The kernels' bodies on a CPU against f64, at sizes that a network has and at awkward ones. Outputs begin as NaN and are fenced by
// values that must stay. Prints a line for each shape; the exit code is 1 if one is further off than allowed.
//
//     c++ -O2 -std=c++17 -DPICSIFT_EMULATED -I. -I../../src/transformer/kernels/cuda check.cpp -o check && ./check
#include "attention.cu"
#include "choose.cu"
#include "epilogue.cu"
#include "patches.cu"
#include "rotary.cu"

static int failed;
static u64 state = 1;

// From -2 to 2.
static float number() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (float)(state >> 40) / (1 << 24) * 4 - 2;
}

// Memory of a tensor on the device, with a fence before and behind.
template <typename T> struct Memory {
  enum { FENCE = 64 };
  std::vector<T> all;
  explicit Memory(size_t count) : all(count + 2 * FENCE, from_float<T>(NAN)) {
    for (size_t i = 0; i < FENCE; i++) all[i] = all[count + FENCE + i] = from_float<T>(123);
  }
  T *data() { return all.data() + FENCE; }
  size_t count() const { return all.size() - 2 * FENCE; }
  Memory &random() {
    for (size_t i = 0; i < count(); i++) data()[i] = from_float<T>(number());
    return *this;
  }
  bool fenced() {
    for (size_t i = 0; i < FENCE; i++)
      if (to_float(all[i]) != 123 || to_float(all[count() + FENCE + i]) != 123) return false;
    return true;
  }
  std::vector<double> exact() {
    std::vector<double> values(count());
    for (size_t i = 0; i < count(); i++) values[i] = to_float(data()[i]);
    return values;
  }
};

template <typename T>
static void compare(const char *step, const char *shape, Memory<T> &ours, const std::vector<double> &exact, double single,
                    double half) {
  double worst = 0;
  for (size_t i = 0; i < exact.size(); i++) {
    const double off = fabs(to_float(ours.data()[i]) - exact[i]) / (1 + fabs(exact[i]));
    if (!(off <= worst)) worst = off;
    if (worst != worst) break;
  }
  const double allowed = sizeof(T) == 4 ? single : half;
  const bool holds = worst <= allowed && ours.fenced();
  failed |= !holds;
  printf("%s %s %s: %.1e of %.1e%s%s\n", holds ? "ok" : "WRONG", step, shape, worst, allowed, sizeof(T) == 4 ? " f32" : " bf16",
         ours.fenced() ? "" : ", written beyond its end");
}

static double exact_gelu(double x) { return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

template <typename T>
static void check_epilogue(const char *step, int kind, void (*kernel)(u64, u32, u32, T *, const T *, const T *), u32 rows,
                           u32 width, bool aligned) {
  Memory<T> y(rows * width + 1), x(rows * width + 1), bias(width + 1);
  y.random(), x.random(), bias.random();
  const int shift = aligned ? 0 : 1;
  std::vector<double> exact = y.exact();
  for (u32 i = 0; i < rows * width; i++) {
    double sum = to_float(y.data()[i + shift]) + (double)to_float(bias.data()[shift + i % width]);
    if (kind == GELU) sum = exact_gelu(sum);
    if (kind == RESIDUAL) sum += to_float(x.data()[i + shift]);
    exact[i + shift] = sum;
  }
  const bool whole = aligned && width % (16 / sizeof(T)) == 0;
  launch({3, 1, 1}, 64, [&] {
    kernel((u64)rows * width, width, whole, y.data() + shift, bias.data() + shift, x.data() + shift);
  });
  char shape[80];
  snprintf(shape, sizeof shape, "%u x %u%s", rows, width, whole ? "" : ", one by one");
  compare(step, shape, y, exact, 2e-6, 1.6e-2);
}

template <typename T>
static void check_rotate(void (*kernel)(u32, u32, u32, T *, const float *, const float *, T *, T *), u32 batch, u32 tokens,
                         u32 heads, u32 dim) {
  const u32 half = dim / 4, width = heads * dim, rows = batch * tokens;
  Memory<T> qkv((size_t)rows * 3 * width), k((size_t)rows * width), v((size_t)rows * width);
  Memory<float> cos_table(tokens * half), sin_table(tokens * half);
  qkv.random();
  for (u32 t = 0; t < tokens; t++)
    for (u32 j = 0; j < half; j++) {
      const double angle = (t + 3) * pow(10000, -2.0 * j / (2 * half));
      cos_table.data()[t * half + j] = cos(angle);
      sin_table.data()[t * half + j] = sin(angle);
    }
  std::vector<double> exact = qkv.exact(), k_exact, v_exact;
  for (u32 row = 0; row < rows; row++) {
    for (u32 part = 0; part < 2; part++)
      for (u32 head = 0; head < heads; head++)
        for (u32 j = 0; j < half; j++) {
          const double angle = (row % tokens + 3) * pow(10000, -2.0 * j / (2 * half));
          double *a = &exact[((size_t)row * 3 + part) * width + head * dim + j], *b = a + half;
          const double first = *a, second = *b;
          *a = first * cos(angle) - second * sin(angle);
          *b = first * sin(angle) + second * cos(angle);
        }
    const double *keys = &exact[((size_t)row * 3 + 1) * width];
    k_exact.insert(k_exact.end(), keys, keys + width);
    v_exact.insert(v_exact.end(), keys + width, keys + 2 * width);
    // Keys and values stay where they were as they were.
    for (u32 i = 0; i < width; i++) exact[((size_t)row * 3 + 1) * width + i] = to_float(qkv.data()[((size_t)row * 3 + 1) * width + i]);
  }
  launch({rows, 1, 1}, 128, [&] { kernel(tokens, heads, dim, qkv.data(), cos_table.data(), sin_table.data(), k.data(), v.data()); });
  char shape[80];
  snprintf(shape, sizeof shape, "%u x %u, %u heads of %u", batch, tokens, heads, dim);
  compare("rotate", shape, qkv, exact, 1e-6, 8e-3);
  compare("rotate's keys", shape, k, k_exact, 1e-6, 8e-3);
  compare("rotate's values", shape, v, v_exact, 0, 0);
}

template <typename T> static void check_patches(void (*kernel)(u32, u32, const unsigned char *, T *), u32 views, u32 side, u32 patch) {
  const u32 grid = side / patch, width = 3 * patch * patch;
  std::vector<unsigned char> pixels(views * side * side * 3);
  for (unsigned char &pixel : pixels) pixel = (unsigned char)(number() * 64 + 128);
  Memory<T> vectors((size_t)views * grid * grid * width);
  std::vector<double> exact;
  for (u32 view = 0; view < views; view++)
    for (u32 place = 0; place < grid * grid; place++)
      for (u32 channel = 0; channel < 3; channel++)
        for (u32 row = 0; row < patch; row++)
          for (u32 column = 0; column < patch; column++) {
            const u32 y = place / grid * patch + row, x = place % grid * patch + column;
            exact.push_back((pixels[((view * side + y) * side + x) * 3 + channel] / 255.0 - 0.5) / 0.5);
          }
  launch({views * grid * grid, 1, 1}, 128, [&] { kernel(side, patch, pixels.data(), vectors.data()); });
  char shape[80];
  snprintf(shape, sizeof shape, "%u views of %u, patches of %u", views, side, patch);
  compare("patches", shape, vectors, exact, 1e-6, 8e-3);
}

// Queries within what they were computed in, keys of the first piece by themselves, those of the last within theirs: all the
// ways in which a network has them.
template <typename T>
static void check_attention(void (*kernel)(const Arguments), u32 dim, u32 batch, u32 heads, u32 rows, std::vector<u32> counts,
                            bool masked) {
  const u32 width = heads * dim, last = counts.back(), words = (last + 31) / 32;
  Memory<T> qkv((size_t)batch * rows * 3 * width), out((size_t)batch * rows * width);
  qkv.random();
  std::vector<Memory<T>> pieces;
  Arguments arguments = {};
  arguments.q = {qkv.data(), (u64)rows * 3 * width, 3 * width};
  arguments.out = out.data();
  arguments.count = counts.size();
  for (size_t i = 0; i < counts.size(); i++) pieces.emplace_back((size_t)batch * counts[i] * 2 * width);
  for (size_t i = 0; i < counts.size(); i++) {
    T *at = pieces[i].random().data();
    const u64 token = 2 * width, sequence = counts[i] * token;
    arguments.pieces[i] = {{at, sequence, token}, {at + width, sequence, token}, counts[i]};
  }
  const u32 before = last > rows ? last - rows : 0;
  auto sees = [&](u32 row, u32 key) { return !masked || key == before + row || (key < before + row && key % 3 == 0); };
  std::vector<u32> mask(rows * words);
  for (u32 row = 0; row < rows; row++)
    for (u32 key = 0; key < last; key++)
      if (sees(row, key)) mask[row * words + key / 32] |= 1u << key % 32;
  arguments.mask = masked ? mask.data() : 0;
  arguments.rows = rows, arguments.heads = heads, arguments.words = words, arguments.scale = 1 / sqrtf(dim);

  std::vector<double> exact(out.count());
  for (u32 image = 0; image < batch; image++)
    for (u32 row = 0; row < rows; row++)
      for (u32 head = 0; head < heads; head++) {
        const T *q = qkv.data() + ((size_t)image * rows + row) * 3 * width + head * dim;
        std::vector<double> scores;
        std::vector<const T *> values;
        for (size_t i = 0; i < counts.size(); i++)
          for (u32 key = 0; key < counts[i]; key++)
            if (i + 1 < counts.size() || sees(row, key)) {
              const T *k = pieces[i].data() + ((size_t)image * counts[i] + key) * 2 * width + head * dim;
              double score = 0;
              for (u32 d = 0; d < dim; d++) score += (double)to_float(q[d]) * to_float(k[d]);
              scores.push_back(score / sqrt((double)dim));
              values.push_back(k + width);
            }
        double top = -INFINITY, sum = 0;
        for (double score : scores) top = fmax(top, score);
        for (double &score : scores) sum += score = exp(score - top);
        double *target = &exact[((size_t)image * rows + row) * width + head * dim];
        for (size_t i = 0; i < scores.size(); i++)
          for (u32 d = 0; d < dim; d++) target[d] += scores[i] / sum * to_float(values[i][d]);
      }
  const u32 at_once = sizeof(T) == 4 ? 4 : 128;
  launch({(rows + at_once - 1) / at_once, heads, batch}, 128, [&] { kernel(arguments); });
  char shape[120];
  snprintf(shape, sizeof shape, "%u x %u, %u heads of %u, keys %u + %u%s", batch, rows, heads, dim,
           counts.size() > 1 ? counts[0] : 0, last, masked ? " masked" : "");
  compare("attention", shape, out, exact, 3e-6, 1e-2);
}

// Rows of few different numbers, so that there are equals; then one with a NaN, one with an infinity and one that holds it last.
template <typename T> static void check_choose(void (*kernel)(u32, u32, const T *, u32 *), u32 rows, u32 width, u32 barred) {
  const u32 nothing = 0xffffffffu, fence = 123;
  Memory<T> logits((size_t)(rows + 3) * width);
  for (size_t i = 0; i < logits.count(); i++) logits.data()[i] = from_float<T>(floorf(number() * 8) / 8);
  T *last = logits.data() + (size_t)rows * width;
  last[width / 2] = from_float<T>(NAN);
  last[width + width / 3] = from_float<T>(INFINITY);
  last[3 * width - 1] = from_float<T>(-INFINITY);
  std::vector<u32> chosen(rows + 5, fence);
  launch({rows + 3, 1, 1}, 256, [&] { kernel(width, barred, logits.data(), chosen.data() + 1); });
  bool holds = logits.fenced() && chosen.front() == fence && chosen.back() == fence;
  for (u32 row = 0; row < rows + 3; row++) {
    u32 best = nothing;
    for (u32 i = 0; i < width && row < rows; i++) {
      const float x = to_float(logits.data()[(size_t)row * width + i]);
      if (i != barred && (best == nothing || x > to_float(logits.data()[(size_t)row * width + best]))) best = i;
    }
    holds &= chosen[row + 1] == best;
  }
  failed |= !holds;
  printf("%s choose %u x %u without %u: %s\n", holds ? "ok" : "WRONG", rows, width, barred, sizeof(T) == 4 ? "f32" : "bf16");
}

int main() {
  for (bool aligned : {true, false})
    for (u32 width : {3u, 64u, 72u, 1152u})
      for (u32 rows : {1u, 7u, 33u}) {
        check_epilogue<float>("add bias", ADD, picsift_add_bias_f32, rows, width, aligned);
        check_epilogue<bf16>("add bias", ADD, picsift_add_bias_bf16, rows, width, aligned);
        check_epilogue<float>("bias and gelu", GELU, picsift_bias_gelu_f32, rows, width, aligned);
        check_epilogue<bf16>("bias and gelu", GELU, picsift_bias_gelu_bf16, rows, width, aligned);
        check_epilogue<float>("residual", RESIDUAL, picsift_residual_f32, rows, width, aligned);
        check_epilogue<bf16>("residual", RESIDUAL, picsift_residual_bf16, rows, width, aligned);
      }
  for (u32 tokens : {1u, 37u}) {
    check_rotate<float>(picsift_rotate_f32, 2, tokens, 3, 64);
    check_rotate<bf16>(picsift_rotate_bf16, 3, tokens, 2, 64);
    check_rotate<bf16>(picsift_rotate_bf16, 1, tokens, 2, 24);
  }
  for (u32 width : {1u, 3u, 255u, 257u, 2051u})
    for (u32 barred : {0xffffffffu, 0u, width / 2, width - 1}) {
      check_choose<float>(picsift_choose_f32, 9, width, barred);
      check_choose<bf16>(picsift_choose_bf16, 9, width, barred);
    }
  check_patches<float>(picsift_patches_f32, 2, 70, 14);
  check_patches<bf16>(picsift_patches_bf16, 3, 45, 14);
  struct {
    u32 batch, heads, rows;
    std::vector<u32> keys;
    bool masked;
  } shapes[] = {
      {1, 1, 1, {1}, false},      {2, 2, 129, {211}, false},  {1, 2, 37, {37}, true},    {2, 2, 5, {730, 5}, true},
      {1, 1, 197, {129, 197}, true}, {2, 1, 3, {19, 14}, true}, {1, 1, 64, {64}, false}, {1, 1, 300, {65, 300}, true},
  };
  for (auto &shape : shapes) {
    check_attention<bf16>(picsift_attention_64_bf16, 64, shape.batch, shape.heads, shape.rows, shape.keys, shape.masked);
    check_attention<bf16>(picsift_attention_72_bf16, 72, shape.batch, shape.heads, shape.rows, shape.keys, shape.masked);
    check_attention<float>(picsift_attention_64_f32, 64, shape.batch, shape.heads, shape.rows, shape.keys, shape.masked);
    check_attention<float>(picsift_attention_72_f32, 72, shape.batch, shape.heads, shape.rows, shape.keys, shape.masked);
  }
  return failed;
}
