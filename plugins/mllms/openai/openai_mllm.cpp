// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>

#include "dt2it/error.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/remote_mllm.hpp"
#include "plugins/common/json_out.hpp"
#include "reply.hpp"
#include "request_body.hpp"
#include "services.hpp"

namespace dt2it::openai {
namespace {

// The base may have been given with the path of chats.
std::string with_path(const std::string& endpoint, std::string_view path) {
  const std::size_t query = endpoint.find('?');
  std::string base = endpoint.substr(0, query);
  while (base.ends_with('/')) base.pop_back();
  for (const std::string_view chats : {"/chat/completions", "/messages"})
    if (base.ends_with(chats)) base.resize(base.size() - chats.size());
  base += path;
  return query == std::string::npos ? base : base + endpoint.substr(query);
}

bool is_local(const std::string& endpoint) {
  return endpoint.starts_with("http://127.") || endpoint.starts_with("http://localhost") ||
         endpoint.starts_with("http://[::1]");
}

std::string json_text(std::string_view text) {
  std::string json;
  json_out::append_json_string(json, text);
  return json;
}

// Speaks OpenAI's chat completions or Anthropic's messages.
class OpenAiMllm final : public RemoteMllm {
 public:
  struct Params {
    std::string service = "openai";
    std::string endpoint;
    std::string model;
    std::string store_as;
    std::optional<std::string> api_key_env;
    std::string api_key_file;  // no path: its content is no part of a stage's key
    std::string api_key_header;
    std::string wire;
    std::string max_tokens_parameter = "auto";
    std::optional<std::int64_t> max_tokens;
    std::optional<std::int64_t> seed;
    std::string json_mode;
    std::vector<std::string> omit;
    std::optional<std::string> image_detail;
    std::string extra_body;
    double timeout_seconds = 600;
    double connect_timeout_seconds = 5;
    double silence_seconds = 300;
    int retries = 6;
    double retry_delay_seconds = 0.5;
    double max_retry_delay_seconds = 60;
    int outage_limit = 30;
    std::string proxy;
    std::string ca_file;
    double requests_per_minute = 0;
    double tokens_per_minute = 0;
    int max_in_flight = 256;
    bool adapt_in_flight = true;
    double price_input = 0;
    std::optional<double> price_cached_input;
    double price_output = 0;
    double price_batch_factor = 0.5;
    std::string price_date;
    std::string image_tokens = "patches";
    int image_tokens_size = 32;
    int image_tokens_base = 85;
    int image_tokens_each = 170;
    int image_tokens_most = 16384;
    bool batch = false;
    double batch_poll_seconds = 30;
  };

  static void describe(Schema<Params>& schema) {
    std::vector<std::string> services;
    for (const Service& service : kServices) services.emplace_back(service.name);
    schema
        .field(
            "service", &Params::service,
            "Whose defaults hold for endpoint, key, wire and the like; any other server: the one "
            "nearest to it.")
        .choices(services);
    schema.field("endpoint", &Params::endpoint,
                 "Base URL, usually ending in /v1; empty: the service's own.");
    schema.field("model", &Params::model, "Model as the server names it.").required().argument();
    schema.field(
        "store_as", &Params::store_as,
        "Under which name answers are stored; endpoints of the same name are taken as equal. "
        "Empty: the endpoint.");
    schema.field("api_key_env", &Params::api_key_env,
                 "Environment variable that holds the key; \"\": none is sent; not given: the "
                 "service's own. "
                 "The key itself is written nowhere.");
    schema.field("api_key_file", &Params::api_key_file,
                 "File that holds the key, in place of the environment.");
    schema.field(
        "api_key_header", &Params::api_key_header,
        "Header that carries the key: Authorization (as \"Bearer KEY\"), or another such as "
        "api-key (as it is); empty: the service's own.");
    schema
        .field("wire", &Params::wire,
               "Chat completions (openai) or messages (anthropic); empty: the service's own.")
        .choices({"", "openai", "anthropic"});
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
        .field(
            "json_mode", &Params::json_mode,
            "How JSON is asked for where a call wants it: by its schema, as some object, or by its "
            "words only; empty: the service's own. What a server refuses is replaced by the next "
            "of "
            "these.")
        .choices({"", "schema", "object", "none"});
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
        .field("silence_seconds", &Params::silence_seconds,
               "Longest time without a byte, the wait for the first one included; 0: not watched.")
        .min(0)
        .max(86400);
    schema
        .field("retries", &Params::retries,
               "Further attempts after server errors, time-outs and broken connections; limits "
               "(429, 503) "
               "are waited for five times as often.")
        .min(0)
        .max(100);
    schema
        .field(
            "retry_delay_seconds", &Params::retry_delay_seconds,
            "Wait before the first further attempt; it doubles each time. What the server asks for "
            "goes first.")
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
    schema.field("ca_file", &Params::ca_file,
                 "Certificates (PEM) that are trusted in place of the system's.");
    schema
        .field("requests_per_minute", &Params::requests_per_minute,
               "Limit that is kept, spread evenly; 0: only what the server's headers say.")
        .min(0);
    schema
        .field("tokens_per_minute", &Params::tokens_per_minute,
               "Likewise for tokens, asked and answered.")
        .min(0);
    schema.field("max_in_flight", &Params::max_in_flight, "Most calls at the same time.")
        .min(1)
        .max(4096);
    schema.field(
        "adapt_in_flight", &Params::adapt_in_flight,
        "Find the number in flight by what the endpoint gets done; false: always max_in_flight.");
    schema.field("price_input", &Params::price_input, "Price of a million tokens sent.").min(0);
    schema
        .field(
            "price_cached_input", &Params::price_cached_input,
            "Price of a million tokens sent that the provider had cached; not given: price_input.")
        .min(0);
    schema.field("price_output", &Params::price_output, "Price of a million tokens answered.")
        .min(0);
    schema
        .field("price_batch_factor", &Params::price_batch_factor,
               "What calls in batches cost, of these.")
        .min(0)
        .max(1);
    schema.field("price_date", &Params::price_date,
                 "As of when the prices hold (2026-08-01); without it costs count as unknown.");
    schema
        .field("image_tokens", &Params::image_tokens,
               "How an image's tokens are estimated: one a patch, or so many a tile.")
        .choices({"patches", "tiles"});
    schema
        .field("image_tokens_size", &Params::image_tokens_size,
               "Side of a patch or tile, in pixels.")
        .min(1)
        .max(4096);
    schema
        .field("image_tokens_base", &Params::image_tokens_base,
               "Tokens of an image besides its tiles.")
        .min(0);
    schema.field("image_tokens_each", &Params::image_tokens_each, "Tokens of a tile.").min(0);
    schema.field("image_tokens_most", &Params::image_tokens_most, "Most patches of an image.")
        .min(1);
    schema.field("batch", &Params::batch,
                 "Collect the calls of a stage into batches, at half the price and within a day.");
    schema
        .field("batch_poll_seconds", &Params::batch_poll_seconds,
               "How often batches are looked at.")
        .min(0.01)
        .max(3600);
  }

  OpenAiMllm(const Params& params, Context& context)
      : images_(EncodedImages::of(context.media())),
        service_(
            *std::find_if(kServices.begin(), kServices.end(),
                          [&](const Service& service) { return service.name == params.service; })),
        token_name_fixed_(params.max_tokens_parameter != "auto") {
    if (params.model.empty()) throw ConfigError("parameter 'model' is empty");
    const auto or_own = [](const std::string& given, std::string_view own) {
      return given.empty() ? std::string(own) : given;
    };
    const std::string url = or_own(params.endpoint, service_.endpoint);
    if (url.empty())
      throw ConfigError(
          fmt::format("parameter 'endpoint' is needed for service '{}'", params.service));
    if (!url.starts_with("https://") && !url.starts_with("http://"))
      throw ConfigError(fmt::format("endpoint '{}' must begin with https:// or http://", url));
    if (std::any_of(url.begin(), url.end(), [](unsigned char c) { return c <= 0x20 || c == 0x7f; }))
      throw ConfigError("an endpoint holds no blanks or line ends");
    if (const std::size_t host = url.find("//") + 2;
        url.substr(host, url.find('/', host) - host).find('@') != std::string::npos)
      throw ConfigError("an endpoint holds no user name or password; keys come from api_key_env");
    anthropic_ = or_own(params.wire, service_.wire) == "anthropic";
    if (anthropic_ && params.batch)
      throw ConfigError("batch: only the wire openai has batches here");
    url_ = with_path(url, anthropic_ ? "/messages" : "/chat/completions");

    const std::string json_mode = or_own(params.json_mode, service_.json_mode);
    form_.json = json_mode == "schema"   ? JsonForm::schema
                 : json_mode == "object" ? JsonForm::object
                                         : JsonForm::none;
    form_.completion_tokens = token_name_fixed_ ? params.max_tokens_parameter != "max_tokens"
                                                : service_.completion_tokens;
    for (const std::string& name : params.omit)
      (name == "temperature" ? form_.temperature : form_.top_p) = false;
    settings_ = {params.model, params.image_detail,  params.max_tokens,
                 params.seed,  service_.temperature, read_extra_body(params.extra_body)};

    endpoint_.url = url;
    endpoint_.model = params.model;
    endpoint_.identity = identity(params, url, json_mode);
    endpoint_.timeout_seconds = params.timeout_seconds;
    endpoint_.connect_timeout_seconds = params.connect_timeout_seconds;
    endpoint_.silence_seconds = params.silence_seconds;
    endpoint_.proxy = params.proxy;
    endpoint_.ca_file = params.ca_file;
    endpoint_.retries = params.retries;
    endpoint_.retry_delay_seconds = params.retry_delay_seconds;
    endpoint_.max_retry_delay_seconds = params.max_retry_delay_seconds;
    endpoint_.outage_limit = params.outage_limit;
    endpoint_.requests_per_minute = params.requests_per_minute;
    endpoint_.tokens_per_minute = params.tokens_per_minute;
    endpoint_.max_in_flight = params.max_in_flight;
    endpoint_.adapt = params.adapt_in_flight;
    endpoint_.prices = {params.price_input, params.price_cached_input.value_or(params.price_input),
                        params.price_output, params.price_batch_factor, params.price_date};
    const bool tiles = params.image_tokens == "tiles";
    endpoint_.image_tokens = {tiles ? ImageTokens::Rule::tiles : ImageTokens::Rule::patches,
                              params.image_tokens_size, tiles ? params.image_tokens_base : 0,
                              tiles ? params.image_tokens_each : 0, params.image_tokens_most};
    endpoint_.max_tokens = params.max_tokens.value_or(anthropic_ ? kAnthropicLimit : 0);
    endpoint_.batch = params.batch;
    endpoint_.batch_poll_seconds = params.batch_poll_seconds;
    endpoint_.files_url = with_path(url, "/files");
    endpoint_.batches_url = with_path(url, "/batches");
    endpoint_.batch_path = "/v1/chat/completions";
    if (anthropic_) endpoint_.headers.push_back("anthropic-version: 2023-06-01");
    read_key(params, or_own(params.api_key_header, service_.api_key_header), context);
  }

  const Endpoint& endpoint() const override { return endpoint_; }

  WireRequest write(const ChatRequest& request) override {
    WireForm form;
    {
      std::lock_guard lock(mutex_);
      form = form_;
    }
    Body body = anthropic_ ? anthropic_body(request, settings_, form, *images_)
                           : request_body(request, settings_, form, *images_);
    return {body.status, std::move(body.detail), url_, std::move(body.pieces), form.packed()};
  }

  WireReading read(const ChatRequest& request, std::uint32_t packed,
                   const HttpAnswer& answer) override {
    WireReading reading;
    const auto end_as = [&](WireReading::Next next, const std::string& problem) {
      reading.next = next;
      reading.problem = json_out::valid_utf8(problem);
      return reading;
    };
    if (answer.status == 0)
      return end_as(answer.hopeless ? WireReading::Next::stop : WireReading::Next::retry,
                    answer.problem);
    long status = answer.status;
    if (status == 200) {
      ReadReply read = anthropic_ ? read_anthropic_reply(answer.body) : read_reply(answer.body);
      if (read.damaged) return end_as(WireReading::Next::retry, read.reply.detail);
      if (read.error_status == 0) {
        reading.reply = std::move(read.reply);
        reading.usage_known = read.usage_known;
        return reading;
      }
      status = read.error_status;
    }
    const ServerError error = read_error(answer.body);
    const std::string problem = fmt::format("HTTP {}: {}", status, error.message.substr(0, 500));
    switch (judge_answer(status, error, answer.header("x-should-retry"))) {
      case Meaning::stop: return end_as(WireReading::Next::stop, problem);
      case Meaning::retry: return end_as(WireReading::Next::retry, problem);
      case Meaning::refused: reading.reply.status = Status::refused; break;
      case Meaning::give_up: reading.reply.status = Status::unavailable; break;
      case Meaning::invalid:
        if (learned(request, WireForm::unpacked(packed), error))
          return end_as(WireReading::Next::changed, problem);
        reading.reply.status = Status::invalid;
        break;
      case Meaning::answer: reading.reply.status = Status::invalid;  // 2xx without an answer
    }
    reading.reply.detail = json_out::valid_utf8(problem);
    return reading;
  }

 private:
  static std::string identity(const Params& params, const std::string& url,
                              const std::string& json_mode) {
    std::string json = fmt::format(R"({{"at":{},"model":{},"json":"{}")",
                                   json_text(params.store_as.empty() ? url : params.store_as),
                                   json_text(params.model), json_mode);
    if (params.max_tokens) json += fmt::format(R"(,"max_tokens":{})", *params.max_tokens);
    if (params.seed) json += fmt::format(R"(,"seed":{})", *params.seed);
    if (params.image_detail) json += fmt::format(R"(,"detail":"{}")", *params.image_detail);
    for (const char* name : {"temperature", "top_p"})
      if (std::find(params.omit.begin(), params.omit.end(), name) != params.omit.end())
        json += fmt::format(R"(,"{}":"omitted")", name);
    for (const auto& [name, value] : read_extra_body(params.extra_body))
      json += fmt::format(",{}:{}", json_text("extra " + name), value);
    return json + "}";
  }

  void read_key(const Params& params, const std::string& header, Context& context) {
    const auto in_name = [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
    };
    if (header.empty() || !std::all_of(header.begin(), header.end(), in_name))
      throw ConfigError("api_key_header must be the name of a header");
    std::string key, place;
    if (!params.api_key_file.empty()) {
      place = params.api_key_file;
      std::ifstream file(params.api_key_file);
      if (!std::getline(file, key) || key.empty())
        throw ModelError(
            fmt::format("{}: no key for {} in it (api_key_file)", place, endpoint_.url));
      while (!key.empty() && (key.back() == '\r' || key.back() == ' ')) key.pop_back();
    } else {
      place = params.api_key_env.value_or(std::string(service_.api_key_env));
      if (place.empty()) return;
      const char* value = std::getenv(place.c_str());
      if (!value || !*value)
        throw ModelError(
            fmt::format("the environment variable {} with the key for {} is not set (api_key_env = "
                        "\"\" where a server "
                        "wants none)",
                        place, endpoint_.url));
      key = value;
    }
    const auto printable = [](char c) { return c > 0x20 && c < 0x7f; };
    if (!std::all_of(key.begin(), key.end(), printable))
      throw ModelError(
          fmt::format("the key in {} has blanks, line ends or letters that no key has", place));
    endpoint_.secret = key;
    endpoint_.headers.push_back(header + (header == "Authorization" ? ": Bearer " : ": ") + key);
    if (endpoint_.url.starts_with("http://") && !is_local(endpoint_.url))
      context.log(LogLevel::warning,
                  fmt::format("the key in {} goes to {} without encryption", place, endpoint_.url));
  }

  // True: written anew the request may do, since this refusal or one before it taught something.
  bool learned(const ChatRequest& request, WireForm sent, const ServerError& error) {
    {
      std::lock_guard lock(mutex_);
      if (form_ != sent) return true;
    }
    if (!learn(sent, request, error, token_name_fixed_)) return false;
    std::lock_guard lock(mutex_);
    form_.completion_tokens = form_.completion_tokens && sent.completion_tokens;
    form_.temperature = form_.temperature && sent.temperature;
    form_.top_p = form_.top_p && sent.top_p;
    form_.seed = form_.seed && sent.seed;
    form_.json = std::max(form_.json, sent.json);
    return true;
  }

  const std::shared_ptr<EncodedImages> images_;
  const Service& service_;
  const bool token_name_fixed_;
  bool anthropic_ = false;
  std::string url_;
  BodySettings settings_;
  Endpoint endpoint_;
  std::mutex mutex_;  // guards form_
  WireForm form_;
};

}  // namespace
}  // namespace dt2it::openai

DT2IT_PLUGIN("mllms/openai", "0.3.0", registrar) {
  registrar.add<dt2it::Mllm, dt2it::openai::OpenAiMllm>(
      "openai",
      "Asks a server that speaks OpenAI's chat completions or Anthropic's messages: services, "
      "vLLM, "
      "llama.cpp and others.");
}
