// SPDX-License-Identifier: Apache-2.0
#include "tests/plugins/mllms/mllm_contract.hpp"

#include <catch2/catch.hpp>

#include "dt2it/testing/contracts.hpp"

namespace dt2it::testing {

void check_mllm_contract_apart(Mllm& mllm, const ChatRequest& request) {
  check_mllm_contract(mllm, request);
}

}  // namespace dt2it::testing
