// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "dt2it/mllm.hpp"

namespace dt2it::testing {

// check_mllm_contract for tests that include LibTorch: its printing of pairs and lists, for all types, takes those of the
// contract suites and does not compile.
void check_mllm_contract_apart(Mllm& mllm, const ChatRequest& request);

}  // namespace dt2it::testing
