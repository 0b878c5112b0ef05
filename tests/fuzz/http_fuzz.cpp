// SPDX-License-Identifier: Apache-2.0
// Bodies and heads of HTTP answers, from services of models and from reward servers, and requests to our own server: read as
// something, never a reward that is no finite number.
#include <cmath>
#include <cstdlib>

#include "core/serve/reward_api.hpp"
#include "dt2it/error.hpp"
#include "dt2it/remote_mllm.hpp"
#include "plugins/mllms/openai/reply.hpp"
#include "plugins/reward_models/endpoint/wire.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dt2it;
  const std::string text(reinterpret_cast<const char*>(data), size);
  HttpAnswer answer;
  answer.head = text;
  answer.header("retry-after");
  openai::read_reply(text);
  openai::read_anthropic_reply(text);
  const openai::ServerError error = openai::read_error(text);
  for (const long status : {200, 400, 401, 429, 500}) openai::judge_answer(status, error, "");
  endpoint::read_error(400, text);
  for (const auto api : {endpoint::Api::rewards, endpoint::Api::pooling, endpoint::Api::classify})
    for (const std::size_t count : {1, 3}) {
      const auto rewards = endpoint::read_answer(api, text, count);
      if (rewards.size() != count) std::abort();
      for (const Reward& reward : rewards)
        if (reward.ok() && !std::isfinite(reward.value)) std::abort();
    }
  for (const RewardRoute route :
       {RewardRoute::rewards, RewardRoute::pooling, RewardRoute::classify}) {
    RewardJob job;
    try {
      ApiLimits limits;
      limits.remote_images = true;
      read_api_request(
          route, text, limits,
          [](std::span<const std::uint8_t> bytes) {
            Media media;
            media.id = std::string(64, '0');
            media.mime = bytes.size() % 2 ? "image/png" : "";
            return media;
          },
          [](const std::string&) -> Bytes { throw DataError("none"); }, job);
      if (job.responses.empty() || job.prompt.messages.empty() || job.tokens == 0) std::abort();
    } catch (const ApiError& refused) {
      if (refused.status < 400 || refused.status > 499) std::abort();
    }
  }
  return 0;
}
