// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "core/cli/model_options.hpp"
#include "core/cli/verbs.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/serve/reward_server.hpp"
#include "core/util/files.hpp"
#include "core/util/scratch_folder.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kKeyVariable = "DT2IT_SERVE_KEY";

// Numbers have a sign here, so that -1 is seen to be one.
struct Options {
  ModelOptions model;
  ServeOptions serve;
  std::vector<std::string> plugin_path;
  std::string name, key_file;
  std::int64_t port = 8000, group_tokens = 16384, max_requests = 128, max_connections = 1024;
  std::int64_t max_images = 32, max_candidates = 64, reader_threads = 4;
  double max_body = 64, max_image = 20, max_pixels = kMaxImagePixels / 1e6;  // MiB, MiB, millions
  double read_timeout = 30, answer_timeout = 300;                            // seconds
};

template <class Number>
Number within(const char* option, Number given, Number least, Number most) {
  if (!(given >= least && given <= most))  // NaN too
    throw ConfigError(
        fmt::format("dt2it serve: --{}: {} is not allowed ({} to {})", option, given, least, most));
  return given;
}

ServeOptions limits_of(const Options& options) {
  constexpr double kDay = 86400;
  const auto count = [](const char* option, std::int64_t given, std::int64_t least = 1,
                        std::int64_t most = 1'000'000) {
    return static_cast<std::size_t>(within(option, given, least, most));
  };
  const auto bytes = [](const char* option, double mebibytes, double most) {
    return static_cast<std::size_t>(within(option, mebibytes, 0.001, most) * (1 << 20));
  };
  ServeOptions serve = options.serve;
  serve.port = static_cast<std::uint16_t>(count("port", options.port, 0, 65535));
  serve.tokens_per_group = count("group-tokens", options.group_tokens, 1, 1'000'000'000);
  serve.requests = count("max-requests", options.max_requests);
  serve.connections = count("max-connections", options.max_connections);
  serve.body_bytes = bytes("max-body", options.max_body, 4095);  // simdjson's documents end there
  serve.api.image_bytes = serve.remote.most_bytes = bytes("max-image", options.max_image, 1024);
  serve.api.image_pixels = static_cast<std::int64_t>(
      within("max-pixels", options.max_pixels, 0.001, kMaxImagePixels / 1e6) * 1e6);
  serve.api.images = count("max-images", options.max_images, 0);
  serve.api.candidates = count("max-candidates", options.max_candidates);
  serve.read_seconds = within("read-timeout", options.read_timeout, 0.1, kDay);
  serve.answer_seconds = within("answer-timeout", options.answer_timeout, 0.1, kDay);
  serve.threads = static_cast<int>(count("reader-threads", options.reader_threads, 1, 1024));
  return serve;
}

// A key never stands on a command line, where every user of the machine can read it.
std::string key_of(const std::string& file) {
  const char* variable = std::getenv(kKeyVariable);
  if (file.empty() && !variable) return {};
  const std::string from = file.empty() ? kKeyVariable : file;
  std::string key = file.empty() ? variable : read_file(file);
  while (!key.empty() && std::string_view("\n\r\t ").find(key.back()) != std::string_view::npos)
    key.pop_back();
  if (key.empty())  // the server would be open where a key was meant
    throw ConfigError(from + ": is empty; a key is expected in it" +
                      (file.empty() ? " (unset it for a server without a key)" : ""));
  if (!std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; }))
    throw ConfigError(from + ": holds blanks, line ends or letters that no key has");
  return key;
}

int serve_model(const Options& options) {
  ServeOptions serve = limits_of(options);
  serve.key = key_of(options.key_file);
  CommonOptions common;
  common.plugin_path = options.plugin_path;
  Installation installation(common);
  const ComponentConfig config = reward_model_of(options.model, installation.registry);
  serve.model = !options.name.empty() ? options.name
                : fs::is_directory(options.model.model)
                    ? fs::canonical(options.model.model).filename().string()
                    : options.model.model;

  const std::atomic<bool>& stop = catch_interrupts();
  const ScratchFolder scratch("serve");  // images of requests lie here until the answer is sent
  HostMedia stored(installation.registry, scratch.path() / "media");
  PassingMediaStore media(stored.store(), scratch.path() / "media", nullptr);
  const auto log = [](LogLevel level, std::string_view message) {
    if (level >= LogLevel::warning)
      spdlog::log(level == LogLevel::error ? spdlog::level::err : spdlog::level::warn, "{}",
                  message);
  };
  StageScope scope(installation.registry, {config}, media, 0, scratch.path(), log);
  const auto model = scope.context().component<RewardModel>("model");
  RewardServer server(*model, media, serve, log);
  if (serve.key.empty() && serve.host != "127.0.0.1" && serve.host != "localhost" &&
      serve.host != "::1")
    log(LogLevel::warning,
        fmt::format("{} is open to all who reach it: set a key with --key-file or {}", serve.host,
                    kKeyVariable));
  std::cout << fmt::format(
                   "{} at http://{}:{}\n", serve.model,
                   serve.host.find(':') == std::string::npos ? serve.host : "[" + serve.host + "]",
                   server.port())
            << std::flush;
  while (!stop) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  server.stop();
  model->finish(0);
  return 0;
}

}  // namespace

int serve(const Arguments& arguments) {
  Options options;
  ServeOptions& serve = options.serve;
  po::options_description words("options");
  add_model_options(words, options.model);
  words.add_options()("name", po::value(&options.name)->value_name("NAME"),
                      "the model's name in requests (default: its folder's)")(
      "host", po::value(&serve.host)->value_name("ADDRESS"),
      "where to listen (default: 127.0.0.1)")("port,p", po::value(&options.port)->value_name("N"),
                                              "0: any that is free (default: 8000)")(
      "key-file", po::value(&options.key_file)->value_name("FILE"),
      "file with the key that requests must carry (default: the variable DT2IT_SERVE_KEY; none: no "
      "key)")("group-tokens", po::value(&options.group_tokens)->value_name("N"),
              "about how many tokens the model is given at once (default: 16384)")(
      "max-requests", po::value(&options.max_requests)->value_name("N"),
      "requests in the house; more get 429 (default: 128)")(
      "max-connections", po::value(&options.max_connections)->value_name("N"),
      "open connections (default: 1024)")(
      "max-body", po::value(&options.max_body)->value_name("MIB"), "longest request (default: 64)")(
      "max-image", po::value(&options.max_image)->value_name("MIB"),
      "largest image, as it comes (default: 20)")(
      "max-pixels", po::value(&options.max_pixels)->value_name("MILLIONS"),
      "largest image, width times height (default, and at most: 49)")(
      "max-images", po::value(&options.max_images)->value_name("N"),
      "images of a request (default: 32)")("max-candidates",
                                           po::value(&options.max_candidates)->value_name("N"),
                                           "candidates of a request (default: 64)")(
      "read-timeout", po::value(&options.read_timeout)->value_name("SECONDS"),
      "for a request to arrive, and for the images it has fetched (default: 30)")(
      "answer-timeout", po::value(&options.answer_timeout)->value_name("SECONDS"),
      "for its turn to come; then 504 (default: 300)")(
      "remote-images", po::bool_switch(&serve.api.remote_images),
      "fetch images at http(s) addresses of the public internet")(
      "reader-threads", po::value(&options.reader_threads)->value_name("N"),
      "threads that read requests and fetch images (default: 4)")(
      "plugin-path", po::value(&options.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  if (!parse(
          arguments, words, "model",
          "usage: dt2it serve --model CHECKPOINT [options]\n\n"
          "Serves a reward model over HTTP: POST /v1/rewards, and /pooling and /classify as vLLM "
          "has them; GET /health, "
          "/metrics, /v1/models. SIGTERM or Ctrl-C: what was accepted is answered, then it ends."))
    return 0;
  return serve_model(options);
}

}  // namespace dt2it::cli
