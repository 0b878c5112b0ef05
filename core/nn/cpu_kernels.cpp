// SPDX-License-Identifier: Apache-2.0
#include "core/nn/cpu_kernels.hpp"

#include <cmath>
#include <cstring>
#include <limits>

// Vector types of the compiler: 16 floats, which it splits where registers are shorter.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DT2IT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define DT2IT_CLONES
#endif
#define DT2IT_INLINE inline __attribute__((always_inline))

namespace dt2it::nn::cpu {
namespace {

constexpr std::int64_t kLanes = 16;
using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
using Integers = std::int32_t __attribute__((vector_size(kLanes * sizeof(float))));

DT2IT_INLINE void load(const float* from, Floats& to) { std::memcpy(&to, from, sizeof to); }
DT2IT_INLINE void store(const Floats& from, float* to) { std::memcpy(to, &from, sizeof from); }
DT2IT_INLINE void load_part(const float* from, std::int64_t count, float fill, Floats& to) {
  float lanes[kLanes];
  for (std::int64_t i = 0; i < kLanes; ++i) lanes[i] = i < count ? from[i] : fill;
  load(lanes, to);
}
DT2IT_INLINE void store_part(const Floats& from, std::int64_t count, float* to) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
}
DT2IT_INLINE float sum(const Floats& v) {
  float a[kLanes];
  store(v, a);
  for (std::int64_t half = kLanes / 2; half > 0; half /= 2)
    for (std::int64_t i = 0; i < half; ++i) a[i] += a[i + half];
  return a[0];
}
DT2IT_INLINE float largest(const Floats& v) {
  float a[kLanes];
  store(v, a);
  float most = a[0];
  for (std::int64_t i = 1; i < kLanes; ++i) most = a[i] > most ? a[i] : most;
  return most;
}

// e^x to 2 units in the last place: range reduced to |r| <= ln 2 / 2, then a polynomial (Cephes' coefficients).
// Below -87.3 it gives the smallest normal numbers rather than 0.
DT2IT_INLINE void exponential(Floats& x) {
  const Floats low = Floats{} - 87.33654f, high = Floats{} + 88.37f;
  x = x < low ? low : x;
  x = x > high ? high : x;
  const Floats scaled = x * 1.44269504f;
  const Floats zero{};
  const Integers n =
      __builtin_convertvector(scaled + (scaled < zero ? zero - 0.5f : zero + 0.5f), Integers);
  const Floats whole = __builtin_convertvector(n, Floats);
  const Floats r = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
  Floats p = Floats{} + 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Integers bits = (n + 127) << 23;
  Floats power;
  std::memcpy(&power, &bits, sizeof power);
  x = p * power;
}

DT2IT_INLINE void sigmoid(Floats& x) {
  x = -x;
  exponential(x);
  x = 1.0f / (1.0f + x);
}

}  // namespace

DT2IT_CLONES void rms_norm(const float* x, const float* weight, float* y, float* scale,
                           std::int64_t rows, std::int64_t width, float epsilon) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    Floats squares{}, v, w;
    std::int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) {
      load(x + i, v);
      squares += v * v;
    }
    float total = sum(squares);
    for (; i < width; ++i) total += x[i] * x[i];
    const float by = 1.0f / std::sqrt(total / static_cast<float>(width) + epsilon);
    if (scale) scale[row] = by;
    for (i = 0; i + kLanes <= width; i += kLanes) {
      load(x + i, v);
      load(weight + i, w);
      store(v * by * w, y + i);
    }
    for (; i < width; ++i) y[i] = x[i] * by * weight[i];
  }
}

DT2IT_CLONES void rms_norm_backward(const float* dy, const float* x, const float* weight,
                                    const float* scale, float* dx, float* dweight,
                                    std::int64_t rows, std::int64_t width) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, dy += width, dx += width) {
    const float by = scale[row];
    Floats along{}, v, w, g, d;
    std::int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) {
      load(x + i, v);
      load(weight + i, w);
      load(dy + i, g);
      along += g * w * v;
    }
    float total = sum(along);
    for (std::int64_t k = i; k < width; ++k) total += dy[k] * weight[k] * x[k];
    const float back = total * by * by * by / static_cast<float>(width);
    for (i = 0; i + kLanes <= width; i += kLanes) {
      load(x + i, v);
      load(weight + i, w);
      load(dy + i, g);
      store(g * w * by - v * back, dx + i);
      load(dweight + i, d);
      store(d + g * v * by, dweight + i);
    }
    for (; i < width; ++i) {
      dx[i] = dy[i] * weight[i] * by - x[i] * back;
      dweight[i] += dy[i] * x[i] * by;
    }
  }
}

DT2IT_CLONES void rotate(const float* x, std::int64_t stride, const float* cos, const float* sin,
                         float sign, float* y, std::int64_t rows, std::int64_t heads,
                         std::int64_t dim) {
  const std::int64_t half = dim / 2;
  for (std::int64_t row = 0; row < rows; ++row, x += stride, cos += half, sin += half) {
    const float* in = x;
    for (std::int64_t head = 0; head < heads; ++head, in += dim, y += dim) {
      Floats a, b, c, s;
      std::int64_t i = 0;
      for (; i + kLanes <= half; i += kLanes) {
        load(in + i, a);
        load(in + half + i, b);
        load(cos + i, c);
        load(sin + i, s);
        s *= sign;
        store(a * c - b * s, y + i);
        store(b * c + a * s, y + half + i);
      }
      for (; i < half; ++i) {
        const float first = in[i], second = in[half + i], turn = sin[i] * sign;
        y[i] = first * cos[i] - second * turn;
        y[half + i] = second * cos[i] + first * turn;
      }
    }
  }
}

DT2IT_CLONES void silu_mul(const float* gate, const float* up, float* out, std::int64_t count) {
  Floats g, s, u;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    load(gate + i, g);
    load(up + i, u);
    s = g;
    sigmoid(s);
    store(g * s * u, out + i);
  }
  if (i < count) {
    load_part(gate + i, count - i, 0, g);
    load_part(up + i, count - i, 0, u);
    s = g;
    sigmoid(s);
    store_part(g * s * u, count - i, out + i);
  }
}

DT2IT_CLONES void silu_mul_backward(const float* dout, const float* gate, const float* up,
                                    float* dgate, float* dup, std::int64_t count) {
  Floats d, g, u, s;
  for (std::int64_t i = 0; i < count; i += kLanes) {
    const std::int64_t room = count - i;
    if (room >= kLanes) {
      load(dout + i, d);
      load(gate + i, g);
      load(up + i, u);
    } else {
      load_part(dout + i, room, 0, d);
      load_part(gate + i, room, 0, g);
      load_part(up + i, room, 0, u);
    }
    s = g;
    sigmoid(s);
    const Floats to_gate = d * u * s * (1.0f + g * (1.0f - s)), to_up = d * g * s;
    if (room >= kLanes) {
      store(to_gate, dgate + i);
      store(to_up, dup + i);
    } else {
      store_part(to_gate, room, dgate + i);
      store_part(to_up, room, dup + i);
    }
  }
}

DT2IT_CLONES float exp_row(float* scores, std::int64_t visible, std::int64_t width,
                           float& maximum) {
  Floats most = Floats{} + maximum, v;
  std::int64_t i = 0;
  for (; i + kLanes <= visible; i += kLanes) {
    load(scores + i, v);
    most = v > most ? v : most;
  }
  float top = largest(most);
  for (; i < visible; ++i) top = scores[i] > top ? scores[i] : top;
  maximum = top;
  Floats total{};
  for (i = 0; i + kLanes <= visible; i += kLanes) {
    load(scores + i, v);
    v -= top;
    exponential(v);
    total += v;
    store(v, scores + i);
  }
  if (i < visible) {
    load_part(scores + i, visible - i, top, v);
    v -= top;
    exponential(v);
    for (std::int64_t k = visible - i; k < kLanes; ++k) v[k] = 0;
    total += v;
    store_part(v, visible - i, scores + i);
  }
  if (visible < width)
    std::memset(scores + visible, 0, static_cast<std::size_t>(width - visible) * sizeof(float));
  return sum(total);
}

DT2IT_CLONES void probability_row(float* scores, std::int64_t visible, std::int64_t width,
                                  float log_sum) {
  Floats v;
  std::int64_t i = 0;
  for (; i + kLanes <= visible; i += kLanes) {
    load(scores + i, v);
    v -= log_sum;
    exponential(v);
    store(v, scores + i);
  }
  if (i < visible) {
    load_part(scores + i, visible - i, log_sum, v);
    v -= log_sum;
    exponential(v);
    store_part(v, visible - i, scores + i);
  }
  if (visible < width)
    std::memset(scores + visible, 0, static_cast<std::size_t>(width - visible) * sizeof(float));
}

DT2IT_CLONES void score_gradient_row(const float* probabilities, float* gradients,
                                     std::int64_t width, float mean) {
  Floats p, g;
  std::int64_t i = 0;
  for (; i + kLanes <= width; i += kLanes) {
    load(probabilities + i, p);
    load(gradients + i, g);
    store(p * (g - mean), gradients + i);
  }
  for (; i < width; ++i) gradients[i] = probabilities[i] * (gradients[i] - mean);
}

DT2IT_CLONES float dot(const float* a, const float* b, std::int64_t count) {
  Floats total{}, x, y;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    load(a + i, x);
    load(b + i, y);
    total += x * y;
  }
  float result = sum(total);
  for (; i < count; ++i) result += a[i] * b[i];
  return result;
}

DT2IT_CLONES void scaled(const float* x, float by, float* y, std::int64_t count) {
  Floats v;
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    load(x + i, v);
    store(v * by, y + i);
  }
  for (; i < count; ++i) y[i] = x[i] * by;
}

void scale(float* x, float by, std::int64_t count) { scaled(x, by, x, count); }

}  // namespace dt2it::nn::cpu
