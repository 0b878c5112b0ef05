// SPDX-License-Identifier: Apache-2.0
// dt2it serve as a user runs it, and dt2it score that asks it.
#include "tests/cli/process.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::TemporaryFolder;

// The address at which it says that it can be asked.
std::string address_of(Process& process) {
  for (int i = 0; i < 3000; ++i) {
    const std::string out = process.out_so_far();
    const std::size_t at = out.find("http://"), end = out.find('\n');
    if (at != std::string::npos && end != std::string::npos) return out.substr(at, end - at);
    if (process.ended_within(std::chrono::milliseconds(10))) break;
  }
  FAIL("it does not serve: " << process.err_so_far());
  return {};
}

// What ends by itself; a server would not.
Finished refusal(const Words& words, const std::map<std::string, std::string>& environment = {}) {
  Process process(dt2it_words(words), environment);
  if (!process.ended_within(std::chrono::seconds(20))) process.signal(SIGKILL);
  return process.wait();
}

}  // namespace

TEST_CASE("Options of serve that make no sense are refused") {
  const std::pair<std::string, std::string> cases[] = {
      {"max-requests", "-1"},    {"max-requests", "0"},    {"max-connections", "-1"},
      {"max-image", "-1"},       {"max-image", "2048"},    {"max-body", "-1"},
      {"max-body", "nan"},       {"max-pixels", "inf"},    {"max-images", "-1"},
      {"max-candidates", "0"},   {"read-timeout", "0"},    {"read-timeout", "-3"},
      {"answer-timeout", "nan"}, {"answer-timeout", "-1"}, {"group-tokens", "-1"},
      {"reader-threads", "0"},   {"port", "-1"},           {"port", "70000"}};
  for (const auto& [option, value] : cases) {
    INFO(option << " " << value);
    Words words{"serve", "--model", "length", "--" + option, value};
    if (option != "port") words.insert(words.end(), {"--port", "0"});
    const Finished run = refusal(words);
    CHECK(run.code == 2);
    CHECK_THAT(run.err, Contains("--" + option) && Contains(value) && Contains(" to "));
  }
}

TEST_CASE("A key that is none is refused, blanks at its end are no part of it") {
  TemporaryFolder folder;
  const Words words{"serve", "--model", "length", "--port", "0"};
  for (const char* key : {"", "\n", "two words", "two\nlines", "\xC3\xA9"}) {
    INFO(key);
    const Finished run = refusal(words, {{"DT2IT_SERVE_KEY", key}});
    CHECK(run.code == 2);
    CHECK_THAT(run.err, Contains("DT2IT_SERVE_KEY"));
    Words with_file = words;
    with_file.insert(with_file.end(), {"--key-file", folder.write("key", key).string()});
    CHECK(refusal(with_file).code == 2);
  }
  Process served(dt2it_words(words), {{"DT2IT_SERVE_KEY", "letters-and-1\n"}});
  const std::string pair = R"({"prompt":"Q","chosen":"yes","rejected":"no"})";
  const Finished asked =
      dt2it({"score", "--model", "endpoint:" + address_of(served), "--set", "api_key_env=KEY_HERE",
             folder.write("p.jsonl", pair + "\n").string()},
            {{"KEY_HERE", "letters-and-1"}});
  INFO(asked.err);
  CHECK(asked.code == 0);
  CHECK_THAT(asked.out, Contains(R"("margin":1)"));
}

TEST_CASE("Images of requests lie in a folder that is nobody else's") {
  TemporaryFolder folder;
  Process served(dt2it_words({"serve", "--model", "length", "--port", "0"}),
                 {{"TMPDIR", folder.path().string()}});
  address_of(served);
  std::vector<fs::directory_entry> found;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder.path()))
    if (entry.path().filename().string().starts_with("dt2it-serve-")) found.push_back(entry);
  REQUIRE(found.size() == 1);
  CHECK(found[0].status().permissions() == fs::perms::owner_all);
  served.signal(SIGTERM);
  CHECK(served.wait().code == 0);
  CHECK_FALSE(fs::exists(found[0].path()));
}

TEST_CASE("An outage leaves no results behind: the same command goes on when the server is back") {
  TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 10; ++i)
    text += R"({"prompt":"Q","chosen":"yes","rejected":"no"})"
            "\n";
  const fs::path file = folder.write("p.jsonl", text), out = folder.path() / "out.jsonl",
                 whole = folder.path() / "whole.jsonl";
  auto served =
      std::make_unique<Process>(dt2it_words({"serve", "--model", "length", "--port", "0"}));
  const std::string url = address_of(*served), port = url.substr(url.rfind(':') + 1);
  const auto score = [&](const fs::path& to) {
    return dt2it({"score", "--model", "endpoint:" + url, "--set", "retries=1", "--set",
                  "retry_delay_seconds=0.01", file.string(), "-o", to.string()});
  };
  CHECK(score(whole).code == 0);
  served.reset();
  const Finished down = score(out);
  INFO(down.err);
  CHECK(down.code == 5);
  CHECK_THAT(down.err, Contains(url) && Contains("run again"));
  CHECK_FALSE(fs::exists(out));
  served = std::make_unique<Process>(dt2it_words({"serve", "--model", "length", "--port", port}));
  REQUIRE(address_of(*served) == url);
  CHECK(score(out).code == 0);
  CHECK(read_file(out) == read_file(whole));
  // Lines that a shorter outage has left in a whole file are asked again, and these only.
  std::string holes = read_file(whole);
  const std::size_t begin = holes.find("\n") + 1, end = holes.find("\n", begin);
  holes.replace(
      begin, end - begin,
      R"({"id":"","row":1,"status":"unavailable","chosen":null,"rejected":null,"detail":"gone"})");
  write_file_atomically(out, holes);
  const Finished again = score(out);
  INFO(again.err);
  CHECK(again.code == 0);
  CHECK_THAT(again.err, Contains("going on after 9 records"));
  CHECK(read_file(out) == read_file(whole));
  CHECK_THAT(score(out).err, Contains("is complete already"));
}

}  // namespace dt2it
