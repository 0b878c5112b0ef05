// SPDX-License-Identifier: Apache-2.0
#include "core/nn/safetensors.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <catch2/catch.hpp>

#include "core/nn/checkpoint.hpp"
#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using Catch::Matchers::Contains;

TEST_CASE("Tensors come back as they were written, in all types, and bytes are the same twice") {
  const dt2it::testing::TemporaryFolder folder;
  const auto path = folder.path() / "round_trip.safetensors";
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3}) / 7;
  NamedTensors tensors{{"a", x},
                       {"b\"q", x.to(at::kBFloat16)},
                       {"c", x.t().to(at::kHalf)},
                       {"number", x[1][2]},
                       {"none", x.narrow(0, 0, 0)}};
  for (const at::ScalarType type :
       {at::kDouble, at::kLong, at::kInt, at::kShort, at::kChar, at::kByte, at::kBool, at::kUInt16})
    tensors.emplace_back(std::string(c10::toString(type)), at::arange(5).to(type));
  write_safetensors(path, tensors);
  const std::string bytes = read_text_file(path);
  {
    const SafetensorsFile file(path);
    CHECK(file.metadata().at("format") == "pt");
    CHECK(file.names().size() == tensors.size());
    for (const auto& [name, tensor] : tensors) {
      CAPTURE(name);
      for (const at::Tensor& read : {file.load(name), file.view(name)}) {
        CHECK(read.scalar_type() == tensor.scalar_type());
        CHECK(read.sizes() == tensor.sizes());
        CHECK(read.to(at::kDouble).equal(tensor.to(at::kDouble)));
      }
    }
    CHECK_THROWS_WITH(file.load("e"), Contains("round_trip.safetensors") && Contains("'e'"));
  }
  write_safetensors(path, tensors);
  CHECK(read_text_file(path) == bytes);
}

TEST_CASE("A view is no copy, and writing to it leaves the file alone") {
  const dt2it::testing::TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const at::Tensor x = at::randn({30, 50});
  write_safetensors(path, {{"x", x}, {"y", x + 1}});
  at::Tensor first, second, copy;
  {
    const SafetensorsFile file(path);
    first = file.view("x");
    second = file.view("x");
    copy = file.load("x");
  }
  CHECK(first.data_ptr() == second.data_ptr());
  CHECK(first.data_ptr() != copy.data_ptr());
  first.add_(1);
  CHECK(second.equal(x + 1));
  CHECK(SafetensorsFile(path).load("x").equal(x));
}

TEST_CASE("Checkpoint: into tensors of any type and layout, with threads, and what does not fit") {
  const dt2it::testing::TemporaryFolder folder;
  NamedTensors tensors;
  for (const char* name : {"a", "b", "c"})
    tensors.emplace_back(name, at::randn({4000, 700}).to(at::kBFloat16));
  tensors.emplace_back("number", at::randn({}));
  tensors.emplace_back("whole", at::arange(10));
  SaveOptions options;
  options.max_shard_bytes = 6'000'000;
  CHECK(save_weights(folder.path(), tensors, options).files == 3);
  const Checkpoint checkpoint(folder.path());
  for (const auto& [name, tensor] : tensors) {
    CHECK(checkpoint.load(name).equal(tensor));
    CHECK(checkpoint.view(name).equal(tensor));
    CHECK(checkpoint.type(name) == tensor.scalar_type());
  }
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble})
    for (const int threads : {1, 3}) {
      NamedTensors targets;
      for (std::size_t i = 0; i < 4; ++i)
        targets.emplace_back(tensors[i].first,
                             at::zeros_like(tensors[i].second, at::TensorOptions().dtype(type)));
      // As a device's memory is: not written to directly.
      targets[1].second = at::zeros({700, 4000}, at::TensorOptions().dtype(type)).t();
      targets[0].second.requires_grad_(true);
      checkpoint.copy_into(targets, threads);
      for (std::size_t i = 0; i < 4; ++i)
        CHECK(targets[i].second.equal(tensors[i].second.to(type)));
    }
  NamedTensors wrong{{"a", at::zeros({700, 4000})}};
  CHECK_THROWS_WITH(checkpoint.copy_into(wrong),
                    Contains("'a'") && Contains("[4000,700]") && Contains("[700,4000]"));
  wrong = {{"a", tensors[0].second}, {"absent", tensors[0].second}};
  CHECK_THROWS_WITH(checkpoint.copy_into(wrong, 2), Contains("'absent'"));
  CHECK_THROWS_WITH(checkpoint.copy_into("whole", at::zeros({10})),
                    Contains("'whole'") && Contains("I64"));
  const at::Tensor half = checkpoint.load("a", at::kHalf);
  CHECK(half.equal(tensors[0].second.to(at::kHalf)));

  options.type = at::kHalf;
  save_weights(folder.path(), tensors, options);
  const Checkpoint narrow(folder.path());
  CHECK(narrow.load("b").equal(tensors[1].second.to(at::kHalf)));
  CHECK(narrow.type("whole") == at::kLong);
}

TEST_CASE("Our rounding is PyTorch's") {
  const dt2it::testing::TemporaryFolder folder;
  const at::Tensor x =
      at::cat(std::vector<at::Tensor>{at::randn({100000}) * 1e-7, at::randn({100000}),
                                      at::randn({100000}) * 3e4, at::randn({100000}) * 1e38});
  save_weights(folder.path(),
               {{"f32", x}, {"f64", x.to(at::kDouble) * 1.0000001}, {"f16", x.to(at::kHalf)}});
  const Checkpoint checkpoint(folder.path());
  for (const at::ScalarType type : {at::kBFloat16, at::kHalf, at::kFloat, at::kDouble}) {
    CAPTURE(type);
    CHECK(checkpoint.load("f32", type).equal(x.to(type)));
    CHECK(checkpoint.load("f64", type).equal((x.to(at::kDouble) * 1.0000001).to(type)));
    CHECK(checkpoint.load("f16", type).equal(x.to(at::kHalf).to(type)));
  }
}
