// SPDX-License-Identifier: Apache-2.0
#pragma once

// One contract suite per plugin kind. Call it inside a TEST_CASE with a component and small inputs:
//
//   TEST_CASE("contract") { ... dt2it::testing::check_curator_contract(curator, pairs); }

#include "dt2it/testing/answer_contracts.hpp"
#include "dt2it/testing/data_contracts.hpp"
#include "dt2it/testing/model_contracts.hpp"
#include "dt2it/testing/scoring_contracts.hpp"
