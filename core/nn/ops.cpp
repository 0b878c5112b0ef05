// SPDX-License-Identifier: Apache-2.0
#include "core/nn/ops.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>

#include "core/nn/cpu_kernels.hpp"

namespace dt2it::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Floats that one thread takes at least.
constexpr std::int64_t kGrain = 1 << 15;

bool fused(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }

bool records(const at::Tensor& a, const at::Tensor& b) {
  return at::GradMode::is_enabled() && (a.requires_grad() || b.requires_grad());
}

template <class Work>
void for_rows(std::int64_t rows, std::int64_t width, Work work) {
  at::parallel_for(0, rows, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, width)),
                   work);
}

at::Tensor rms_norm_cpu(const at::Tensor& x, const at::Tensor& weight, double epsilon,
                        at::Tensor* scales) {
  const std::int64_t width = x.size(-1), rows = x.numel() / width;
  at::Tensor y = at::empty(x.sizes(), x.options());
  float* scale = nullptr;
  if (scales) {
    *scales = at::empty({rows}, x.options());
    scale = scales->data_ptr<float>();
  }
  const auto* in = x.const_data_ptr<float>();
  const auto* w = weight.const_data_ptr<float>();
  auto* out = y.data_ptr<float>();
  for_rows(rows, width, [&](std::int64_t begin, std::int64_t end) {
    cpu::rms_norm(in + begin * width, w, out + begin * width, scale ? scale + begin : nullptr,
                  end - begin, width, static_cast<float>(epsilon));
  });
  return y;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            double epsilon) {
    at::Tensor scales;
    at::Tensor y = rms_norm_cpu(x, weight, epsilon, &scales);
    context->save_for_backward({x, weight, scales});
    return y;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scales = saved[2];
    const at::Tensor dy = gradients[0].contiguous();
    const std::int64_t width = x.size(-1), rows = x.numel() / width;
    at::Tensor dx = at::empty(x.sizes(), x.options());
    // A row of weight gradients for each slice of rows, so that the sum does not depend on the number of threads.
    constexpr std::int64_t kSlices = 16;
    const std::int64_t slice = (rows + kSlices - 1) / kSlices;
    at::Tensor dweight = at::zeros({kSlices, width}, x.options());
    const auto *g = dy.const_data_ptr<float>(), *in = x.const_data_ptr<float>();
    const auto *w = weight.const_data_ptr<float>(), *s = scales.const_data_ptr<float>();
    auto *out = dx.data_ptr<float>(), *dw = dweight.data_ptr<float>();
    at::parallel_for(
        0, kSlices, std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, slice * width)),
        [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t i = first; i < last; ++i) {
            const std::int64_t begin = i * slice, end = std::min(rows, begin + slice);
            if (begin < end)
              cpu::rms_norm_backward(g + begin * width, in + begin * width, w, s + begin,
                                     out + begin * width, dw + i * width, end - begin, width);
          }
        });
    return {dx, dweight.sum(0), at::Tensor()};
  }
};

at::Tensor rotate_cpu(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin,
                      float sign) {
  const std::int64_t rows = x.size(0), heads = x.size(1), dim = x.size(2), stride = x.stride(0);
  at::Tensor y = at::empty({rows, heads, dim}, x.options());
  const auto *in = x.const_data_ptr<float>(), *c = cos.const_data_ptr<float>(),
             *s = sin.const_data_ptr<float>();
  auto* out = y.data_ptr<float>();
  for_rows(rows, heads * dim, [&](std::int64_t begin, std::int64_t end) {
    cpu::rotate(in + begin * stride, stride, c + begin * dim / 2, s + begin * dim / 2, sign,
                out + begin * heads * dim, end - begin, heads, dim);
  });
  return y;
}

struct Rotate : torch::autograd::Function<Rotate> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    context->save_for_backward({cos, sin});
    return rotate_cpu(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    return {rotate_cpu(gradients[0].contiguous(), saved[0], saved[1], -1), at::Tensor(),
            at::Tensor()};
  }
};

at::Tensor silu_mul_cpu(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor out = at::empty(gate.sizes(), gate.options());
  const auto *g = gate.const_data_ptr<float>(), *u = up.const_data_ptr<float>();
  auto* o = out.data_ptr<float>();
  for_rows(gate.numel(), 1, [&](std::int64_t begin, std::int64_t end) {
    cpu::silu_mul(g + begin, u + begin, o + begin, end - begin);
  });
  return out;
}

struct SiluMul : torch::autograd::Function<SiluMul> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& gate,
                            const at::Tensor& up) {
    context->save_for_backward({gate, up});
    return silu_mul_cpu(gate, up);
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor d = gradients[0].contiguous();
    at::Tensor dgate = at::empty_like(saved[0]), dup = at::empty_like(saved[1]);
    const auto *o = d.const_data_ptr<float>(), *g = saved[0].const_data_ptr<float>(),
               *u = saved[1].const_data_ptr<float>();
    auto *to_gate = dgate.data_ptr<float>(), *to_up = dup.data_ptr<float>();
    for_rows(d.numel(), 1, [&](std::int64_t begin, std::int64_t end) {
      cpu::silu_mul_backward(o + begin, g + begin, u + begin, to_gate + begin, to_up + begin,
                             end - begin);
    });
    return {dgate, dup};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x_in, const at::Tensor& weight, double epsilon) {
  if (!fused(x_in)) return at::rms_norm(x_in, {x_in.size(-1)}, weight, epsilon);
  const at::Tensor x = x_in.contiguous();
  return records(x, weight) ? RmsNorm::apply(x, weight, epsilon)
                            : rms_norm_cpu(x, weight, epsilon, nullptr);
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos_in, const at::Tensor& sin_in) {
  const at::Tensor cos = cos_in.contiguous(), sin = sin_in.contiguous();
  if (fused(x)) {
    const at::Tensor dense = x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
    return records(x, cos) ? Rotate::apply(dense, cos, sin) : rotate_cpu(dense, cos, sin, 1);
  }
  const std::int64_t half = x.size(2) / 2;
  const at::Tensor a = x.narrow(2, 0, half), b = x.narrow(2, half, half);
  const at::Tensor c = cos.unsqueeze(1), s = sin.unsqueeze(1);
  return at::cat(at::TensorList{a * c - b * s, b * c + a * s}, 2).to(x.scalar_type());
}

at::Tensor silu_mul(const at::Tensor& gate_in, const at::Tensor& up_in) {
  if (!fused(gate_in)) return at::silu(gate_in) * up_in;
  const at::Tensor gate = gate_in.contiguous(), up = up_in.contiguous();
  return records(gate, up) ? SiluMul::apply(gate, up) : silu_mul_cpu(gate, up);
}

}  // namespace dt2it::nn
