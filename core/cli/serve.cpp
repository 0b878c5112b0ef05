// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <thread>

#include "core/cli/model_options.hpp"
#include "core/cli/verbs.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/serve/reward_server.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

constexpr const char* kKeyVariable = "DT2IT_SERVE_KEY";

struct Options {
  ModelOptions model;
  ServeOptions serve;
  std::vector<std::string> plugin_path;
  std::string name, key_file;
  double max_body = 64, max_image = 20, max_pixels = 64;  // MiB, MiB, millions
};

// A key never stands on a command line, where every user of the machine can read it.
std::string key_of(const std::string& file) {
  std::string key;
  if (!file.empty()) {
    key = read_file(file);
    while (!key.empty() && (key.back() == '\n' || key.back() == '\r' || key.back() == ' '))
      key.pop_back();
    if (key.empty()) throw ConfigError(file + ": is empty; a key is expected in it");
  } else if (const char* variable = std::getenv(kKeyVariable)) {
    key = variable;
  }
  return key;
}

// Images of requests lie here until the answer is sent.
struct Scratch {
  fs::path path = fs::temp_directory_path() / fmt::format("dt2it-serve-{}", getpid());
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

int serve_model(Options& options) {
  CommonOptions common;
  common.plugin_path = options.plugin_path;
  Installation installation(common);
  const ComponentConfig config = reward_model_of(options.model, installation.registry);
  ServeOptions& serve = options.serve;
  serve.key = key_of(options.key_file);
  serve.model = !options.name.empty() ? options.name
                : fs::is_directory(options.model.model)
                    ? fs::canonical(options.model.model).filename().string()
                    : options.model.model;
  serve.body_bytes = static_cast<std::size_t>(options.max_body * (1 << 20));
  serve.api.image_bytes = serve.remote.most_bytes =
      static_cast<std::size_t>(options.max_image * (1 << 20));
  serve.api.image_pixels = static_cast<std::int64_t>(options.max_pixels * 1e6);
  if (serve.body_bytes == 0 || serve.requests == 0 || serve.connections == 0 ||
      serve.tokens_per_group == 0 || serve.threads < 1)
    throw ConfigError("dt2it serve: limits must be above 0");

  const std::atomic<bool>& stop = catch_interrupts();
  const Scratch scratch;
  HostMedia stored(installation.registry, scratch.path / "media");
  PassingMediaStore media(stored.store(), scratch.path / "media", nullptr);
  const auto log = [](LogLevel level, std::string_view message) {
    if (level >= LogLevel::warning)
      spdlog::log(level == LogLevel::error ? spdlog::level::err : spdlog::level::warn, "{}",
                  message);
  };
  StageScope scope(installation.registry, {config}, media, 0, scratch.path, log);
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
  serve.port = 8000;
  serve.threads = 4;
  po::options_description words("options");
  add_model_options(words, options.model);
  words.add_options()("name", po::value(&options.name)->value_name("NAME"),
                      "the model's name in requests (default: its folder's)")(
      "host", po::value(&serve.host)->value_name("ADDRESS"),
      "where to listen (default: 127.0.0.1)")("port,p", po::value(&serve.port)->value_name("N"),
                                              "0: any that is free (default: 8000)")(
      "key-file", po::value(&options.key_file)->value_name("FILE"),
      "file with the key that requests must carry (default: the variable DT2IT_SERVE_KEY; none: no "
      "key)")("group-tokens", po::value(&serve.tokens_per_group)->value_name("N"),
              "about how many tokens the model is given at once (default: 16384)")(
      "max-requests", po::value(&serve.requests)->value_name("N"),
      "requests in the house; more get 429 (default: 128)")(
      "max-connections", po::value(&serve.connections)->value_name("N"),
      "open connections (default: 1024)")(
      "max-body", po::value(&options.max_body)->value_name("MIB"), "longest request (default: 64)")(
      "max-image", po::value(&options.max_image)->value_name("MIB"),
      "largest image, as it comes (default: 20)")(
      "max-pixels", po::value(&options.max_pixels)->value_name("MILLIONS"),
      "largest image, width times height (default: 64)")(
      "max-images", po::value(&serve.api.images)->value_name("N"),
      "images of a request (default: 32)")("max-candidates",
                                           po::value(&serve.api.candidates)->value_name("N"),
                                           "candidates of a request (default: 64)")(
      "read-timeout", po::value(&serve.read_seconds)->value_name("SECONDS"),
      "for a request to arrive (default: 30)")(
      "answer-timeout", po::value(&serve.answer_seconds)->value_name("SECONDS"),
      "for its turn to come; then 504 (default: 300)")(
      "remote-images", po::bool_switch(&serve.api.remote_images),
      "fetch images at http(s) addresses of the public internet")(
      "reader-threads", po::value(&serve.threads)->value_name("N"),
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
