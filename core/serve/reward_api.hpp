// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/media/media_store.hpp"
#include "core/serve/reward_batcher.hpp"
#include "dt2it/media.hpp"

namespace dt2it {

// The forms in which rewards are asked for over HTTP (docs/serving.md). The last two are those of
// vLLM's server.
enum class RewardRoute : std::uint8_t { rewards, pooling, classify };

// A request that cannot be served as it is: the HTTP status and what is wrong.
struct ApiError : std::runtime_error {
  ApiError(int http_status, const std::string& message)
      : std::runtime_error(message), status(http_status) {}
  int status;
};

struct ApiLimits {
  std::size_t candidates = 64, images = 32;  // of one request
  std::size_t image_bytes = 20u << 20;
  std::int64_t image_pixels = kMaxImagePixels;  // width x height, as the header says
  bool remote_images = false;
};

struct ApiRequest {
  RewardRoute route = RewardRoute::rewards;
  bool sigmoid = false;  // classify, unless the request says use_activation = false
  std::string model;     // as the request names it; may be empty
};

// Reads the body of a request into `job` (prompt, responses, tokens). `store` puts an image's or
// video's bytes away, `fetch` gets those behind an http(s) address. What has been stored is in
// job.prompt even when this throws. Throws ApiError.
ApiRequest read_api_request(RewardRoute route, std::string_view body, const ApiLimits& limits,
                            const std::function<Media(std::span<const std::uint8_t>)>& store,
                            const std::function<Bytes(const std::string& url)>& fetch,
                            RewardJob& job);

// The body of the answer, with status 200. Throws ApiError where the outcome is none that the route
// can tell.
std::string api_answer(const ApiRequest& request, const RewardOutcome& outcome,
                       const std::string& model, std::uint64_t number);

std::string api_error(int status, std::string_view message);

}  // namespace dt2it
