// SPDX-License-Identifier: Apache-2.0
#include "core/nn/device.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "dt2it/error.hpp"

using namespace dt2it;
using namespace dt2it::nn;

TEST_CASE("Processes that share a machine take a device each, for cuda and for auto") {
  for (const char* text : {"cuda", "auto"}) {
    CAPTURE(text);
    CHECK(device_of(text, 0, 1).str() == "cuda:0");
    CHECK(device_of(text, 3, 8).str() == "cuda:3");
    CHECK(device_of(text, 3, 1).str() == "cuda:0");  // srun --gpus-per-task=1 shows each its own
    CHECK(device_of(text, 5, 4).str() == "cuda:1");
  }
  CHECK(device_of("cuda:2", 1, 4).str() == "cuda:2");
  CHECK(device_of("cpu", 3, 8).str() == "cpu");
  CHECK(device_of("auto", 3, 0).str() == "cpu");
  for (const char* text : {"cuda", "cuda:0"})
    CHECK_THROWS_WITH(device_of(text, 0, 0),
                      Catch::Contains("no CUDA device") && Catch::Contains("auto"));
  CHECK_THROWS_WITH(device_of("cuda:4", 0, 4), Catch::Contains("there are 4"));
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1 "})
    CHECK_THROWS_WITH(device_of(text, 0, 4), Catch::Contains("allowed: cpu, cuda, cuda:N, auto"));
}

TEST_CASE("The launcher says which of a machine's processes this is") {
  std::map<std::string, std::string> variables;
  const auto variable = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  CHECK(local_rank(variable) == 0);
  variables["SLURM_LOCALID"] = "2";
  CHECK(local_rank(variable) == 0);  // no step of srun
  variables["SLURM_STEP_ID"] = "0";
  CHECK(local_rank(variable) == 2);
  variables["LOCAL_RANK"] = "1";
  CHECK(local_rank(variable) == 1);
  variables["LOCAL_RANK"] = "one";
  CHECK_THROWS_AS(local_rank(variable), ConfigError);
}
