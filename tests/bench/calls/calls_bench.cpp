// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark `calls`, and the mock endpoint that all sides ask. Each prints one line
// "KEY VALUE ..." for tests/bench/calls/run.
#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

#include "core/calls/call_service.hpp"
#include "core/media/media_store.hpp"
#include "core/util/journal.hpp"
#include "dt2it/request_key.hpp"
#include "dt2it/rng.hpp"
#include "tests/mock_endpoint/mock_endpoint.hpp"
#include "tests/plugins/plugin_library.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using testing::value_of;

// The host's Context with media on disk.
class BenchContext final : public Context {
 public:
  explicit BenchContext(const fs::path& folder)
      : media_(folder / "media",
               []() -> std::shared_ptr<Codec> { throw Error("nothing is decoded here"); }) {}
  void log(LogLevel, std::string_view) override {}
  Rng rng(std::string_view stream) override { return Rng(stable_hash(stream)); }
  MediaStore& media() override { return media_; }
  fs::path scratch() override { return fs::temp_directory_path(); }

 protected:
  std::shared_ptr<void> find(std::string_view, std::string_view) override {
    throw ConfigError("none");
  }
  std::shared_ptr<void> create(std::string_view, std::string_view, const Table&) override {
    throw ConfigError("none");
  }

 private:
  FileMediaStore media_;
};

struct Usage {
  double user = 0, system = 0, rss = 0;
};
Usage usage() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return {seconds(used.ru_utime), seconds(used.ru_stime),
          static_cast<double>(used.ru_maxrss) / 1024};
}

// The same text for all sides: about 1.5 KB, different in its number.
std::string text_of(int number) {
  std::string text = fmt::format("Question {}: ", number);
  while (text.size() < 1500)
    text += "Which of the two responses describes the picture more faithfully? ";
  return text;
}

struct Bench {
  Bench(const fs::path& folder, const std::string& url, Table more)
      : context(folder),
        calls({folder / "calls.sqlite"}, [](LogLevel level, std::string_view text) {
          if (level >= LogLevel::warning) std::cerr << text << '\n';
        }) {
    more.try_emplace("endpoint", value_of(url));
    more.try_emplace("model", value_of("mock"));
    more.try_emplace("api_key_env", value_of(""));
    mllm = calls.manage(testing::PluginLibrary("mllms/openai").make<Mllm>("openai", more, context),
                        "bench", "it");
  }
  // `make` gives the request of a number; returns seconds.
  template <class Make>
  double run(int from, int count, int threads, const Make& make) {
    std::atomic<int> next{from}, wrong{0};
    const auto begin = steady_seconds();
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t)
      workers.emplace_back([&] {
        for (int i = next++; i < from + count; i = next++)
          wrong += mllm->chat(make(i)).status != Status::ok;
      });
    for (std::thread& worker : workers) worker.join();
    if (wrong > 0) throw Error(fmt::format("{} calls failed", wrong.load()));
    return steady_seconds() - begin;
  }

  BenchContext context;
  CallService calls;
  std::shared_ptr<Mllm> mllm;
};

ChatRequest text_request(int number) {
  ChatRequest request;
  request.messages = {{Message::Role::user, {Part::of_text(text_of(number))}}};
  request.sampling.max_tokens = 256;
  request.purpose = "bench";
  return request;
}

void print(const std::string& what, int count, double seconds, const Usage& before) {
  const Usage after = usage();
  const double user = after.user - before.user, kernel = after.system - before.system;
  fmt::print("{} rate={:.0f} cpu_us={:.1f} kernel_us={:.1f} rss_mb={:.0f} seconds={:.3f}\n", what,
             count / seconds, 1e6 * (user + kernel) / count, 1e6 * kernel / count, after.rss,
             seconds);
}

int serve(const std::vector<std::string>& words) {
  mock::Options options;
  options.port = static_cast<std::uint16_t>(std::stoi(words.at(1)));
  options.latency = std::stod(words.at(2));
  options.slots = std::stoi(words.at(3));
  options.rate = std::stod(words.at(4));
  options.content =
      "The second response is better: it counts the objects rightly and invents nothing.";
  mock::Endpoint endpoint(options);
  fmt::print("{}\n", endpoint.url());
  std::fflush(stdout);
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  sigprocmask(SIG_BLOCK, &ends, nullptr);
  int which = 0;
  sigwait(&ends, &which);
  const Usage used = usage();
  fmt::print("mock asked={} cpu_us={:.1f}\n", endpoint.asked(),
             1e6 * (used.user + used.system) /
                 static_cast<double>(std::max<std::uint64_t>(1, endpoint.asked())));
  std::fflush(stdout);
  _exit(0);  // connections may be open
}

// Of a resumed run: journal and store are opened, one item is left.
int first(const fs::path& folder, const std::string& url, std::size_t count) {
  const double begin = steady_seconds();
  const Journal journal(folder / "items.journal");
  std::size_t left = 0;
  for (std::size_t i = 0; i < count; ++i) left += !journal.contains(i);
  Bench bench(folder, url, {});
  bench.run(1 << 28, 1, 1, text_request);
  fmt::print("first seconds={:.3f} left={}\n", steady_seconds() - begin, left);
  return left == 1 ? 0 : 1;
}

int enter(const std::vector<std::string>& words) {
  const std::string& what = words.at(0);
  if (what == "serve") return serve(words);
  if (what == "first") return first(words.at(1), words.at(2), std::stoul(words.at(3)));
  const fs::path folder = words.at(1);
  const std::string& url = words.at(2);
  const int count = std::stoi(words.at(3)), threads = std::stoi(words.at(4));
  Table params;
  if (what != "pace")
    params = {{"adapt_in_flight", value_of(false)}, {"max_in_flight", value_of(threads)}};
  // The limiter is at work, set so high that it does not bind.
  params["requests_per_minute"] = value_of(1e8);
  params["tokens_per_minute"] = value_of(1e12);
  Bench bench(folder, url, params);
  if (what == "text" || what == "pace") {
    bench.run(-2000, what == "text" ? 2000 : threads, threads,
              text_request);  // connections, caches
    const Usage before = usage();
    const double seconds = bench.run(0, count, threads, text_request);
    print(what, count, seconds, before);
    return 0;
  }
  if (what == "cached") {
    bench.run(0, count, 64, text_request);
    const Usage before = usage();
    const double seconds = bench.run(0, count, threads, text_request);
    print(what, count, seconds, before);
    return 0;
  }
  if (what == "image") {
    // Fresh ones of 400 KB; bytes that no compression helps with, behind a PNG's head.
    std::vector<Media> images;
    Rng rng(7);
    for (int i = 0; i < count; ++i) {
      Bytes bytes(400000);
      for (std::size_t k = 0; k + 8 <= bytes.size(); k += 8) {
        const std::uint64_t word = rng.next();
        std::memcpy(&bytes[k], &word, 8);
      }
      std::memcpy(bytes.data(), "\x89PNG\r\n\x1a\n", 8);
      images.push_back(bench.context.media().put(bytes, "drawn"));
    }
    const auto request = [&](int i) {
      ChatRequest request = text_request(i);
      request.messages[0].content.insert(request.messages[0].content.begin(),
                                         Part::of_image(images[static_cast<std::size_t>(i)]));
      return request;
    };
    const Usage before = usage();
    const double seconds = bench.run(0, count, threads, request);
    print(what, count, seconds, before);
    return 0;
  }
  if (what == "rows" || what == "resume") {
    // `count` stored calls put straight into the store; then new ones by the usual way.
    std::vector<StoredCall> block(10000);
    int number = 1 << 24;
    const std::int64_t there = bench.calls.store().count();
    for (std::int64_t done = there; done < count; done += static_cast<std::int64_t>(block.size())) {
      std::vector<const StoredCall*> records;
      for (StoredCall& call : block) {
        call.identity = "{}";
        call.model = "mock";
        call.request = request_text(text_request(number++));
        call.key = call_key(call.identity, call.request);
        call.reply = {Status::ok, "The second response is better.", "stop", "m", "", {120, 64, 9}};
        call.answer = call.reply.text;
        records.push_back(&call);
      }
      bench.calls.store().put(records);
    }
    if (what == "rows") {
      const Usage before = usage();
      const int asked = 20000;
      const double seconds = bench.run((1 << 26) + count, asked, threads,
                                       text_request);  // not those of a smaller count
      print(fmt::format("rows_{}", count), asked, seconds, before);
      return 0;
    }
    const fs::path journal_file = folder / "items.journal";
    if (!fs::exists(journal_file)) {
      Journal journal(journal_file);
      for (int i = 0; i + 1 < count; ++i)
        journal.append(static_cast<std::size_t>(i),
                       R"({"id":"0","text":"The second response is better."})");
    }
    return 0;
  }
  throw Error("what is '" + what + "'?");
}

}  // namespace
}  // namespace dt2it

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> words(argv + 1, argv + argc);
    return dt2it::enter(words);
  } catch (const std::exception& error) {
    std::cerr << "bench_calls: " << error.what() << '\n';
    return 1;
  }
}
