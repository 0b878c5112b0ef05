// SPDX-License-Identifier: Apache-2.0
#pragma once

// Row-wise float32 kernels for the CPU: what ATen would do in several passes over memory. One thread each; callers cut the
// rows. Compiled for AVX-512, AVX2 and plain x86-64, chosen when the library is loaded.

#include <cstdint>

namespace dt2it::nn::cpu {

// y = x / rms(x) * weight for each row; `scale` (one a row, for the backward pass) may be null.
void rms_norm(const float* x, const float* weight, float* y, float* scale, std::int64_t rows,
              std::int64_t width, float epsilon);
// dx of the above; dweight is added to.
void rms_norm_backward(const float* dy, const float* x, const float* weight, const float* scale,
                       float* dx, float* dweight, std::int64_t rows, std::int64_t width);

// Rotates the halves of each head by the row's angles: x [rows, heads, dim], rows `stride` floats apart; cos, sin
// [rows, dim / 2]; y is dense. sign -1 turns back.
void rotate(const float* x, std::int64_t stride, const float* cos, const float* sin, float sign,
            float* y, std::int64_t rows, std::int64_t heads, std::int64_t dim);

// out = gate * sigmoid(gate) * up
void silu_mul(const float* gate, const float* up, float* out, std::int64_t count);
void silu_mul_backward(const float* dout, const float* gate, const float* up, float* dgate,
                       float* dup, std::int64_t count);

// The softmax step of attention over a block of scores [width]: the first `visible` become exp(score - new maximum), the
// others 0. Returns their sum; `maximum` is raised to the new one.
float exp_row(float* scores, std::int64_t visible, std::int64_t width, float& maximum);
// scores := exp(score - log_sum) for the first `visible`, 0 for the others.
void probability_row(float* scores, std::int64_t visible, std::int64_t width, float log_sum);
// grads := probabilities * (grads - mean)
void score_gradient_row(const float* probabilities, float* gradients, std::int64_t width,
                        float mean);
float dot(const float* a, const float* b, std::int64_t count);
void scale(float* x, float by, std::int64_t count);
// y = x * by
void scaled(const float* x, float by, float* y, std::int64_t count);

}  // namespace dt2it::nn::cpu
