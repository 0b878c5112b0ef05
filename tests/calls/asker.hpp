// SPDX-License-Identifier: Apache-2.0
#pragma once

// mllms/openai as the host gives it to plugins, asked about a mock endpoint by many threads.

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/calls/call_service.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/mock_endpoint/mock_endpoint.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace dt2it::testing {

inline constexpr const char* kSecret = "sk-secret-4711";

inline ChatRequest question(const std::string& text, std::int64_t sample = 0) {
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text(text)}}};
  request.sampling.sample = sample;
  request.purpose = "test";
  return request;
}

class Asker {
 public:
  explicit Asker(const std::string& url, Table more = {}, CallOptions options = {},
                 const std::filesystem::path& store = {})
      : calls_({store.empty() ? folder_.path() / "calls.sqlite" : store, options.max_cost,
                options.max_tokens, options.offline, options.batches},
               [this](LogLevel level, std::string_view text) { context.log(level, text); }) {
    setenv("DT2IT_TEST_KEY", kSecret, 1);
    more.try_emplace("endpoint", value_of(url));
    more.try_emplace("model", value_of("mock"));
    more.try_emplace("api_key_env", value_of("DT2IT_TEST_KEY"));
    more.try_emplace("retry_delay_seconds", value_of(0.01));
    more.try_emplace("timeout_seconds", value_of(10));
    mllm = calls_.manage(PluginLibrary("mllms/openai").make<Mllm>("openai", more, context), "stage",
                         "it");
  }

  ChatReply ask(const std::string& text, std::int64_t sample = 0) {
    return mllm->chat(question(text, sample));
  }

  // `count` different questions from so many threads; replies by status.
  std::map<Status, int> ask_all(int count, int threads, const std::string& about = "question ") {
    std::atomic<int> next{0};
    std::vector<std::map<Status, int>> found(static_cast<std::size_t>(threads));
    std::vector<std::thread> workers;
    for (auto& mine : found)
      workers.emplace_back([&] {
        for (int i = next++; i < count; i = next++) ++mine[ask(about + std::to_string(i)).status];
      });
    for (std::thread& worker : workers) worker.join();
    std::map<Status, int> sum;
    for (const auto& mine : found)
      for (const auto& [status, number] : mine) sum[status] += number;
    return sum;
  }

  CallService& calls() { return calls_; }
  FakeContext context;

 private:
  TemporaryFolder folder_;
  CallService calls_;

 public:
  std::shared_ptr<Mllm> mllm;
};

// A certificate of our own for 127.0.0.1 and its key; false where openssl is not installed.
inline bool make_certificate(const std::filesystem::path& folder, const std::string& name,
                             const std::string& address) {
  const std::string command =
      "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
      "/CN=" +
      name + " -addext subjectAltName=IP:" + address + " -keyout " +
      (folder / (name + ".key")).string() + " -out " + (folder / (name + ".pem")).string() +
      " 2>/dev/null";
  return std::system(command.c_str()) == 0;
}

inline bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace dt2it::testing
