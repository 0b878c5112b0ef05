// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "dt2it/error.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/plugin.hpp"
#include "http.hpp"
#include "json_out.hpp"
#include "reply.hpp"
#include "request_body.hpp"

namespace dt2it::openai {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kLongestToldWait = 600;  // seconds; a server that asks for more counts as gone

std::string url_of(const std::string& endpoint) {
  const std::size_t query = endpoint.find('?');
  std::string base = endpoint.substr(0, query);
  while (base.ends_with('/')) base.pop_back();
  if (!base.ends_with("/chat/completions")) base += "/chat/completions";
  return query == std::string::npos ? base : base + endpoint.substr(query);
}

bool is_local(const std::string& endpoint) {
  return endpoint.starts_with("http://127.") || endpoint.starts_with("http://localhost") ||
         endpoint.starts_with("http://[::1]");
}

// Asks a server that speaks OpenAI's chat completions. Thread-safe.
class OpenAiMllm final : public Mllm {
 public:
  struct Params {
    std::string endpoint = "https://api.openai.com/v1";
    std::string model;
    std::string api_key_env = "OPENAI_API_KEY";
    std::string api_key_header = "Authorization";
    std::string max_tokens_parameter = "auto";
    std::optional<std::int64_t> max_tokens;
    std::optional<std::int64_t> seed;
    std::string json_mode = "object";
    std::vector<std::string> omit;
    std::optional<std::string> image_detail;
    std::string extra_body;
    double timeout_seconds = 600;
    double connect_timeout_seconds = 5;
    int retries = 6;
    double retry_delay_seconds = 0.5;
    double max_retry_delay_seconds = 60;
    int outage_limit = 30;
    std::string proxy;
  };

  static void describe(Schema<Params>& schema) {
    schema.field("endpoint", &Params::endpoint,
                 "Base URL, usually ending in /v1; \"/chat/completions\" is added.");
    schema.field("model", &Params::model, "Model as the server names it.").required().argument();
    schema.field("api_key_env", &Params::api_key_env,
                 "Environment variable that holds the key; empty: none is sent. The key itself is "
                 "written nowhere.");
    schema.field("api_key_header", &Params::api_key_header,
                 "Header that carries the key: Authorization (as \"Bearer KEY\"), or another such "
                 "as api-key (as it is).");
    schema
        .field("max_tokens_parameter", &Params::max_tokens_parameter,
               "Name of the token limit. auto: max_completion_tokens, and max_tokens once a server "
               "refuses that.")
        .choices({"auto", "max_completion_tokens", "max_tokens"});
    schema.field("max_tokens", &Params::max_tokens, "Token limit of calls that state none.").min(1);
    schema.field("seed", &Params::seed,
                 "Sent with each call, plus the number of the draw; not given: not sent. Servers "
                 "promise nothing by it.");
    schema
        .field("json_mode", &Params::json_mode,
               "How JSON is asked for where a call wants it: by its schema, as some object, or by "
               "its words only. What "
               "a server refuses is replaced by the next of these.")
        .choices({"schema", "object", "none"});
    schema
        .field("omit", &Params::omit,
               "Sampling parameters that are never sent; reasoning models refuse some.")
        .choices({"temperature", "top_p"});
    schema
        .field("image_detail", &Params::image_detail,
               "Detail in which images are read; not given: not sent.")
        .choices({"auto", "low", "high"});
    schema.field(
        "extra_body", &Params::extra_body,
        "JSON object whose members are added to each request, or replace ours of that name.");
    schema.field("timeout_seconds", &Params::timeout_seconds, "Longest time of one exchange.")
        .min(0.001)
        .max(86400);
    schema
        .field("connect_timeout_seconds", &Params::connect_timeout_seconds,
               "Longest time to connect.")
        .min(0.001)
        .max(3600);
    schema
        .field(
            "retries", &Params::retries,
            "Further attempts after limits (429), server errors, time-outs and broken connections.")
        .min(0)
        .max(100);
    schema
        .field("retry_delay_seconds", &Params::retry_delay_seconds,
               "Wait before the first further attempt; it doubles each time. What the server asks "
               "for goes first.")
        .min(0)
        .max(3600);
    schema.field("max_retry_delay_seconds", &Params::max_retry_delay_seconds, "Longest such wait.")
        .min(0)
        .max(3600);
    schema
        .field(
            "outage_limit", &Params::outage_limit,
            "After so many calls in a row without an answer the run stops with an error; 0: never.")
        .min(0);
    schema.field("proxy", &Params::proxy,
                 "Proxy URL; empty: none, also where the environment names one.");
  }

  OpenAiMllm(const Params& params, Context& context)
      : params_(params),
        context_(context),
        url_(url_of(params.endpoint)),
        settings_{params.model, params.image_detail, params.max_tokens, params.seed,
                  read_extra_body(params.extra_body)},
        http_({params.timeout_seconds, params.connect_timeout_seconds, params.proxy}),
        jitter_(context.rng("jitter")) {
    if (params.model.empty()) throw ConfigError("parameter 'model' is empty");
    if (!params.endpoint.starts_with("https://") && !params.endpoint.starts_with("http://"))
      throw ConfigError(
          fmt::format("endpoint '{}' must begin with https:// or http://", params.endpoint));
    if (const std::size_t host = params.endpoint.find("//") + 2;
        params.endpoint.substr(host, params.endpoint.find('/', host) - host).find('@') !=
        std::string::npos)
      throw ConfigError("an endpoint holds no user name or password; keys come from api_key_env");
    form_.completion_tokens = params.max_tokens_parameter != "max_tokens";
    form_.json = params.json_mode == "schema"   ? JsonForm::schema
                 : params.json_mode == "object" ? JsonForm::object
                                                : JsonForm::none;
    for (const std::string& name : params.omit)
      (name == "temperature" ? form_.temperature : form_.top_p) = false;
    read_key();
  }

  ChatReply chat(const ChatRequest& request) override {
    if (request.messages.empty()) {
      ChatReply reply;
      reply.status = Status::invalid;
      reply.detail = "the request has no messages";
      return reply;
    }
    ChatReply reply = ask(request);
    count(reply);
    return reply;
  }

 private:
  void read_key() {
    if (params_.api_key_env.empty()) return;
    const char* key = std::getenv(params_.api_key_env.c_str());
    if (!key || !*key)
      throw ModelError(
          fmt::format("the environment variable {} with the key for {} is not set (api_key_env "
                      "= \"\" where a server wants none)",
                      params_.api_key_env, params_.endpoint));
    key_ = key;
    const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
    if (!std::all_of(key_.begin(), key_.end(), printable))
      throw ModelError(fmt::format("the key in {} has blanks, line ends or letters that no key has",
                                   params_.api_key_env));
    const auto in_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
    };
    const std::string& header = params_.api_key_header;
    if (header.empty() || !std::all_of(header.begin(), header.end(), in_name))
      throw ConfigError("api_key_header must be the name of a header");
    headers_.push_back(header + (header == "Authorization" ? ": Bearer " : ": ") + key_);
    if (params_.endpoint.starts_with("http://") && !is_local(params_.endpoint))
      context_.log(LogLevel::warning, fmt::format("the key in {} goes to {} without encryption",
                                                  params_.api_key_env, params_.endpoint));
  }

  ChatReply ask(const ChatRequest& request) {
    WireForm form;
    {
      std::lock_guard lock(mutex_);
      if (!stopped_.empty()) throw ModelError(stopped_);
      form = form_;
    }
    Body body = request_body(request, settings_, form, context_.media());
    ChatReply reply;
    const auto end_as = [&](Status status, const std::string& detail) {
      reply.status = status;
      reply.detail = shown(detail);
      return reply;
    };
    if (body.status != Status::ok) return end_as(body.status, body.detail);

    for (int failures = 0;;) {
      wait_for_the_endpoint();
      const HttpAnswer answer = http_.post(url_, headers_, body.json);
      std::string problem;
      Meaning meaning = Meaning::retry;
      if (answer.outcome != HttpAnswer::Outcome::answered) {
        problem = answer.problem;
        if (answer.outcome == HttpAnswer::Outcome::hopeless) meaning = Meaning::stop;
      } else {
        ServerError error = answer.status == 200 ? ServerError{} : read_error(answer.body);
        long status = answer.status;
        if (status == 200) {
          ReadReply read = read_reply(answer.body);
          if (read.error_status == 0) {
            if (!read.reply.detail.empty())
              read.reply.detail = shown(read.reply.detail + named(answer));
            return read.reply;
          }
          status = read.error_status;
          error = read_error(answer.body);
        }
        meaning = judge_answer(status, error, answer.should_retry);
        problem = fmt::format("HTTP {}: {}{}", status, shown(error.message).substr(0, 500),
                              named(answer));
        if (meaning == Meaning::invalid &&
            learn(form, request, error, params_.max_tokens_parameter != "auto")) {
          if (error.param != "messages") remember(form);  // else only this request lacks a word
          body = request_body(request, settings_, form, context_.media());
          continue;
        }
      }

      switch (meaning) {
        case Meaning::refused: return end_as(Status::refused, problem);
        case Meaning::answer:  // another 2xx than 200 carries no answer
        case Meaning::invalid: return end_as(Status::invalid, problem);
        case Meaning::give_up: return end_as(Status::unavailable, problem);
        case Meaning::stop: stop(problem);
        case Meaning::retry: break;
      }
      const std::optional<double> told = told_wait(answer);
      if (told && *told > kLongestToldWait)
        return end_as(Status::unavailable,
                      fmt::format("{}; asked to wait {:.0f} s", problem, *told));
      if (failures == params_.retries)
        return end_as(Status::unavailable, failures == 0 ? problem
                                                         : fmt::format("{} attempts, the last: {}",
                                                                       failures + 1, problem));
      const double wait = told ? *told * (1 + 0.1 * random()) : own_wait(failures);
      ++failures;
      context_.log(LogLevel::debug,
                   shown(fmt::format("{}; asking again in {:.2f} s", problem, wait)));
      // One limit is everybody's: all calls of this component wait. Other trouble may be this
      // call's own.
      if (answer.status == 429 || answer.status == 503) hold_the_endpoint(wait);
      std::this_thread::sleep_for(std::chrono::duration<double>(wait));
    }
  }

  static std::string named(const HttpAnswer& answer) {
    return answer.request_id.empty() ? "" : fmt::format(" (request {})", answer.request_id);
  }

  // Servers echo keys; nothing that is shown or stored may hold one.
  std::string shown(std::string text) const {
    if (!key_.empty())
      for (std::size_t at = 0; (at = text.find(key_, at)) != std::string::npos;)
        text.replace(at, key_.size(), "[key]");
    return valid_utf8(text);
  }

  static std::optional<double> told_wait(const HttpAnswer& answer) {
    if (const auto milliseconds = retry_after_seconds(answer.retry_after_ms, {}))
      return *milliseconds / 1000;
    return retry_after_seconds(answer.retry_after, std::chrono::system_clock::now());
  }

  // Doubling, less up to a quarter so that calls that failed together do not come back together.
  double own_wait(int failures) {
    const double wait =
        params_.retry_delay_seconds * static_cast<double>(1ULL << std::min(failures, 40));
    return std::min(wait, params_.max_retry_delay_seconds) * (1 - 0.25 * random());
  }

  double random() {
    std::lock_guard lock(mutex_);
    return jitter_.uniform();
  }

  void hold_the_endpoint(double seconds) {
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                          std::chrono::duration<double>(seconds));
    std::lock_guard lock(mutex_);
    held_until_ = std::max(held_until_, until);
  }

  void wait_for_the_endpoint() {
    for (;;) {
      Clock::time_point until;
      {
        std::lock_guard lock(mutex_);
        if (!stopped_.empty()) throw ModelError(stopped_);
        until = held_until_;
      }
      if (until <= Clock::now()) return;
      std::this_thread::sleep_until(until);
    }
  }

  void remember(const WireForm& form) {
    std::lock_guard lock(mutex_);
    form_.completion_tokens = form_.completion_tokens && form.completion_tokens;
    form_.temperature = form_.temperature && form.temperature;
    form_.top_p = form_.top_p && form.top_p;
    form_.seed = form_.seed && form.seed;
    form_.json = std::max(form_.json, form.json);
  }

  // No call will do: this one and all after it end at once.
  [[noreturn]] void stop(const std::string& problem) {
    const std::string text = shown(fmt::format("mllms/openai: {} (model {}) cannot be used: {}",
                                               params_.endpoint, params_.model, problem));
    std::lock_guard lock(mutex_);
    if (stopped_.empty()) stopped_ = text;
    throw ModelError(stopped_);
  }

  void count(const ChatReply& reply) {
    std::lock_guard lock(mutex_);
    if (reply.status == Status::missing_media) return;  // the server was not asked
    without_answer_ = reply.status == Status::unavailable ? without_answer_ + 1 : 0;
    if (params_.outage_limit == 0 || without_answer_ < params_.outage_limit) return;
    if (stopped_.empty())
      stopped_ = fmt::format(
          "mllms/openai: {} (model {}) gave no answer to {} calls in a row, the last: {}. What is "
          "done is kept; run "
          "again to go on",
          params_.endpoint, params_.model, without_answer_, reply.detail);
    throw ModelError(stopped_);
  }

  const Params params_;
  Context& context_;
  const std::string url_;
  const BodySettings settings_;
  HttpClient http_;
  std::string key_;
  std::vector<std::string> headers_;

  std::mutex mutex_;  // guards what follows
  Rng jitter_;
  WireForm form_;
  Clock::time_point held_until_{};
  std::string stopped_;  // why no further call is made; empty: calls are made
  int without_answer_ = 0;
};

}  // namespace
}  // namespace dt2it::openai

DT2IT_PLUGIN("mllms/openai", "0.1.0", registrar) {
  registrar.add<dt2it::Mllm, dt2it::openai::OpenAiMllm>(
      "openai",
      "Asks a server that speaks OpenAI's chat completions: services, vLLM, llama.cpp and others.");
}
