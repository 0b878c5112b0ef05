// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "dt2it/plugin.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/secrets.hpp"
#include "plugins/reward_models/endpoint/http_post.hpp"
#include "plugins/reward_models/endpoint/wire.hpp"

namespace dt2it {
namespace {

using namespace endpoint;

// A reward model behind HTTP: `dt2it serve`, or vLLM. What goes wrong with one request is the status
// of its rewards; where no request will do, or the server is gone, there is no result: ModelError.
class EndpointRewardModel final : public RewardModel {
 public:
  struct Params {
    std::string url;
    std::string api = "rewards";
    std::string model;
    std::string api_key_env;
    std::string ca_file;
    double timeout_seconds = 300;
    double connect_timeout_seconds = 5;
    int retries = 6;
    double retry_delay_seconds = 0.5;
    double max_retry_delay_seconds = 30;
    int outage_limit = 30;
    int max_in_flight = 16;
    std::int64_t batch_size = 128;

    static void describe(Schema<Params>& schema) {
      schema.field("url", &Params::url, "Base URL, as http://127.0.0.1:8000.")
          .required()
          .argument();
      schema
          .field("api", &Params::api,
                 "How rewards are asked for: rewards (dt2it serve; a prompt travels once for all "
                 "its answers), or vLLM's "
                 "pooling or classify.")
          .choices({"rewards", "pooling", "classify"});
      schema.field("model", &Params::model,
                   "The model's name at the server; empty: none is sent. vLLM wants one.");
      schema.field("api_key_env", &Params::api_key_env,
                   "Environment variable that holds the key; empty: none is sent.");
      schema.field("ca_file", &Params::ca_file,
                   "Certificates (PEM) that are trusted in place of the system's.");
      schema.field("timeout_seconds", &Params::timeout_seconds, "Longest time of one exchange.")
          .min(0.001);
      schema
          .field("connect_timeout_seconds", &Params::connect_timeout_seconds,
                 "Longest time to connect.")
          .min(0.001);
      schema
          .field("retries", &Params::retries,
                 "Further attempts after server errors, time-outs and broken connections; limits "
                 "(429, 503) are waited for "
                 "five times as often.")
          .min(0);
      schema
          .field("retry_delay_seconds", &Params::retry_delay_seconds,
                 "Wait before the first further attempt; it doubles each time. What the server "
                 "asks for goes first.")
          .min(0);
      schema
          .field("max_retry_delay_seconds", &Params::max_retry_delay_seconds, "Longest such wait.")
          .min(0);
      schema
          .field("outage_limit", &Params::outage_limit,
                 "After so many requests in a row without an answer the run stops with an error; "
                 "0: never.")
          .min(0);
      schema.field("max_in_flight", &Params::max_in_flight, "Most exchanges at the same time.")
          .min(1)
          .max(1024);
      schema.field("batch_size", &Params::batch_size, "Requests handed over at once.").min(1);
    }
  };

  EndpointRewardModel(const Params& params, Context& context) : params_(params), context_(context) {
    api_ = params.api == "pooling"    ? Api::pooling
           : params.api == "classify" ? Api::classify
                                      : Api::rewards;
    std::string base = params.url;
    while (base.ends_with('/')) base.pop_back();
    const std::size_t slashes = base.find("//");
    const std::size_t host = slashes == std::string::npos ? 0 : slashes + 2;
    if (base.substr(host, base.find_first_of("/?#", host) - host).find('@') != std::string::npos)
      throw ConfigError(
          "reward_models/endpoint: a url holds no user name or password; keys come from "
          "api_key_env");
    if (std::any_of(base.begin(), base.end(),
                    [](unsigned char c) { return c <= 0x20 || c == 0x7f; }))
      throw ConfigError("reward_models/endpoint: a url holds no blanks or line ends");
    if (!base.starts_with("http://") && !base.starts_with("https://"))
      throw ConfigError(fmt::format(
          "reward_models/endpoint: url '{}' must begin with http:// or https://", params.url));
    if (base.ends_with("/v1")) base.resize(base.size() - 3);
    url_ = base + (api_ == Api::rewards   ? "/v1/rewards"
                   : api_ == Api::pooling ? "/pooling"
                                          : "/classify");
    post_.ca_file = params.ca_file;
    post_.timeout_seconds = params.timeout_seconds;
    post_.connect_timeout_seconds = params.connect_timeout_seconds;
    post_.retries = params.retries;
    post_.retry_delay_seconds = params.retry_delay_seconds;
    post_.max_retry_delay_seconds = params.max_retry_delay_seconds;
    if (!params.api_key_env.empty()) {
      const char* key = std::getenv(params.api_key_env.c_str());
      if (!key || !*key)
        throw ModelError(fmt::format("the environment variable {} with the key for {} is not set",
                                     params.api_key_env, url_));
      const std::string text = key;
      if (!std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
        throw ModelError(fmt::format(
            "the key in {} has blanks, line ends or letters that no key has", params.api_key_env));
      post_.headers.push_back("Authorization: Bearer " + text);
      key_ = text;
    }
  }

  std::size_t batch_size() const override { return static_cast<std::size_t>(params_.batch_size); }

  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    struct Task {
      std::size_t request, first, count;
    };
    if (for_good_) throw ModelError(reason_);
    stopped_ = false;  // whoever asks again after an outage may find the server back
    std::vector<std::vector<Reward>> results(requests.size());
    std::vector<Task> tasks;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const std::size_t count = requests[i].responses.size();
      results[i].resize(count);
      if (count == 0) continue;
      if (api_ == Api::rewards)
        tasks.push_back({i, 0, count});
      else
        for (std::size_t k = 0; k < count; ++k) tasks.push_back({i, k, 1});
    }
    std::atomic<std::size_t> next{0};
    const auto work = [&](HttpPost& connection) {
      for (std::size_t at; (at = next++) < tasks.size();) {
        const Task& task = tasks[at];
        const std::vector<Reward> some =
            ask(connection, *requests[task.request].prompt,
                requests[task.request].responses.subspan(task.first, task.count));
        std::copy(some.begin(), some.end(),
                  results[task.request].begin() + static_cast<std::ptrdiff_t>(task.first));
      }
    };
    const std::size_t threads =
        std::min<std::size_t>(tasks.size(), static_cast<std::size_t>(params_.max_in_flight));
    while (connections_.size() < threads) connections_.push_back(std::make_unique<HttpPost>(post_));
    std::vector<std::jthread> workers;
    for (std::size_t i = 0; i < threads; ++i)
      workers.emplace_back([&, i] { work(*connections_[i]); });
    workers.clear();
    if (stopped_) throw ModelError(reason_);
    return results;
  }

 private:
  static std::vector<Reward> all(std::size_t count, Status status, const std::string& detail) {
    return std::vector<Reward>(count,
                               Reward{status, std::numeric_limits<double>::quiet_NaN(), detail});
  }

  // Never throws: it runs in a thread. Once it is stopped, what it gives is of no account.
  std::vector<Reward> ask(HttpPost& connection, const Prompt& prompt,
                          std::span<const Response> responses) {
    const std::size_t count = responses.size();
    if (stopped_) return all(count, Status::unavailable, {});
    try {
      const std::string body =
          write_request(api_, params_.model, write_messages(prompt, context_.media()), responses);
      Posted answer = connection.send(url_, body, stopped_);
      if (stopped_) return all(count, Status::unavailable, {});
      blot_out(answer.body, key_);
      blot_out(answer.problem, key_);
      if (answer.status == 200) {
        answered();
        std::vector<Reward> rewards = read_answer(api_, answer.body, count);
        for (Reward& reward : rewards) blot_out(reward.detail, key_);
        return rewards;
      }
      const std::string detail =
          answer.status ? read_error(answer.status, answer.body, key_) : answer.problem;
      switch (answer.status) {
        case 301:
        case 302:
        case 307:
        case 308:
        case 401:
        case 402:
        case 403:
        case 404:
        case 405:  // no request of this endpoint will do
          stop(fmt::format("{} cannot be used: {}. What is done is kept", url_, detail), true);
          break;
        case 400:
        case 413:
        case 422: answered(); return all(count, Status::invalid, detail);
        default: not_answered(answer.fault, detail);
      }
      return all(count, Status::unavailable, detail);
    } catch (const DataError& error) {
      return all(count, Status::missing_media, error.what());
    } catch (const std::exception& error) {
      return all(count, Status::unavailable, error.what());
    }
  }

  void answered() {
    std::lock_guard lock(mutex_);
    without_answer_ = 0;
  }
  void not_answered(Posted::Fault fault, const std::string& detail) {
    int in_a_row = 0;
    {
      std::lock_guard lock(mutex_);
      in_a_row = ++without_answer_;
    }
    if (fault == Posted::Fault::lasting)
      stop(fmt::format("{} cannot be used: {}. What is done is kept", url_, detail), true);
    else if (fault == Posted::Fault::nobody)
      stop(fmt::format("{} gave no answer: {}. What is done is kept; run again to go on", url_,
                       detail),
           false);
    else if (params_.outage_limit > 0 && in_a_row >= params_.outage_limit)
      stop(fmt::format("{} gave no answer to {} requests in a row, the last: {}. What is done is "
                       "kept; run again to go on",
                       url_, in_a_row, detail),
           false);
  }
  void stop(const std::string& reason, bool for_good) {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    reason_ = reason;
    for_good_ = for_good;
    stopped_ = true;
  }

  const Params params_;
  Context& context_;
  Api api_ = Api::rewards;
  std::string url_, key_;
  PostOptions post_;
  std::vector<std::unique_ptr<HttpPost>> connections_;
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;  // what follows, while workers are at it
  int without_answer_ = 0;
  std::string reason_;
  bool for_good_ = false;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("reward_models/endpoint", "1.1.0", registrar) {
  registrar.add<dt2it::RewardModel, dt2it::EndpointRewardModel>(
      "endpoint", "A reward model behind HTTP: `dt2it serve`, or vLLM's pooling and classify.");
}
