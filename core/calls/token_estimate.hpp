// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "dt2it/mllm.hpp"
#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// Tokens of an image of so many pixels; of one of unknown size, as of 1024 x 1024.
std::int64_t image_tokens(const ImageTokens& rule, int width, int height);

// Tokens of a request before anybody has counted them: four bytes a token, images by the rule.
std::int64_t prompt_tokens(const ChatRequest& request, const ImageTokens& rule);

// What a call costs, in the currency of the prices.
double cost_of(const Usage& usage, const Prices& prices, bool batch);

}  // namespace dt2it
