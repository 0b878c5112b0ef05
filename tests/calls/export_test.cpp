// SPDX-License-Identifier: Apache-2.0
// What dt2it calls export writes is what mllms/replay reads, also where a model was asked in two ways.
#include <fmt/format.h>

#include "tests/calls/asker.hpp"
#include "tests/cli/process.hpp"

using namespace dt2it;
using namespace dt2it::testing;

TEST_CASE("An export of a model with two seeds is replayed as one of them") {
  mock::Options options;
  options.answer = [](const mock::Request& request) {
    return request.body.find("\"seed\":1,") != std::string::npos ||
                   request.body.find("\"seed\":1}") != std::string::npos
               ? "by the first"
               : "by the second";
  };
  mock::Endpoint endpoint(options);
  TemporaryFolder folder;
  const auto store = folder.path() / "calls.sqlite", file = folder.path() / "calls.jsonl";
  std::vector<std::string> identities;
  for (const int seed : {1, 2}) {
    Asker asker(endpoint.url(), {{"seed", value_of(seed)}}, {}, store);
    CHECK(asker.ask("What is it?").status == Status::ok);
    asker.calls().store().each(
        {.limit = 1}, [&](const StoredCall& call) { identities.push_back(call.identity); });
  }
  const auto replayed = [&](const Table& more) {
    Table params = more;
    params["file"] = value_of(file.string());
    FakeContext context;
    return PluginLibrary("mllms/replay")
        .make<Mllm>("replay", params, context)
        ->chat(question("What is it?"))
        .text;
  };
  const auto export_calls = [&](Words more) {
    Words words{"calls", "export", file.string(), "--calls", store.string(), "--model", "mock"};
    words.insert(words.end(), more.begin(), more.end());
    const Finished done = dt2it::dt2it(words);
    INFO(done.err);
    CHECK(done.code == 0);
    return done.out;
  };
  const std::string out = export_calls({});
  CHECK(holds(out, "2 calls in"));
  CHECK(holds(out, "mock was asked in 2 ways"));
  for (const std::string& identity : identities) CHECK(holds(out, identity));
  CHECK_THROWS_WITH(replayed({{"model", value_of("mock")}}), Catch::Contains("'identity'"));
  CHECK(replayed({{"identity", value_of(identities.at(0))}}) == "by the first");
  CHECK(replayed({{"identity", value_of(identities.at(1))}}) == "by the second");
  CHECK(holds(export_calls({"--identity", identities.at(1)}), "1 calls in"));
  CHECK(replayed({{"model", value_of("mock")}}) == "by the second");
}
