// SPDX-License-Identifier: Apache-2.0
#include "core/run/scope.hpp"

#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/testing/fake_media_store.hpp"
#include "tests/core/run/host_fixture.hpp"

namespace dt2it {
namespace {

ComponentConfig component(std::string kind, std::string name, Table params = {}) {
  return {std::move(kind), std::move(name), "fixture", std::move(params), {}, {}};
}
Value text(const char* value) { return {std::string(value)}; }

struct ScopeFixture {
  explicit ScopeFixture(std::vector<ComponentConfig> components, std::uint64_t seed = 0)
      : scope(host.registry(), std::move(components), media, seed, host.path() / "scratch",
              [this](LogLevel, std::string_view message) { log += std::string(message) + "\n"; }) {}
  HostFixture host;
  testing::FakeMediaStore media;
  std::string log;
  StageScope scope;
};

std::vector<Score> ask(StageScope& scope, const std::string& judge,
                       const std::string& answer = "12345") {
  const std::vector<Response> responses{testing::sample_response("0", answer)};
  return scope.context().component<Judge>(judge)->score(testing::sample_prompt("p", "?"),
                                                        responses);
}

}  // namespace

TEST_CASE("Only components within reach can be had") {
  ScopeFixture fixture(
      {component("judges", "open"), component("judges", "curious", {{"peek", text("hidden")}})});
  CHECK(ask(fixture.scope, "open").size() == 1);
  CHECK_THROWS_WITH(ask(fixture.scope, "hidden"),
                    Catch::Contains("no [judges.hidden] within reach"));
  CHECK_THROWS_AS(ask(fixture.scope, "curious"), ConfigError);
  // What a component finds wrong when it is made names the place where it was asked for, once.
  ComponentConfig placed = component("judges", "curious", {{"peek", text("hidden")}});
  placed.where = {"row.toml", 7, 3};
  ComponentConfig outer = component("judges", "outer", {{"other", text("curious")}});
  outer.where = {"row.toml", 9, 1};
  ScopeFixture told({placed, outer});
  for (const char* asked : {"curious", "outer"})
    CHECK_THROWS_WITH(ask(told.scope, asked),
                      Catch::StartsWith("row.toml:7:3: [judges.curious]: plugin mllms/fixture: no "
                                        "[judges.hidden] within reach"));
  // The planner gives a stage exactly what it names, directly or through others.
  HostFixture host;
  const StageGraph graph = host.plan(R"(
[datasets.d]
type = "fixture"
[mllms.m]
type = "fixture"
[mllms.unused]
type = "fixture"
[judges.inner]
type = "fixture"
mllm = "m"
[judges.outer]
type = "fixture"
other = "inner"
[scorers.s]
type = "fixture"
judge = "outer"
[stages.prompts]
type = "collect"
dataset = "d"
[stages.candidates]
prompts = "prompts"
pool = ["m"]
[stages.score]
candidates = "candidates"
scorer = "s"
)");
  std::vector<std::string> reached;
  for (const ComponentConfig& one : graph.find("score")->components)
    reached.push_back(one.kind + "." + one.name);
  CHECK(reached ==
        std::vector<std::string>{"scorers.s", "judges.outer", "judges.inner", "mllms.m"});
}

TEST_CASE("Components that need each other are an error, not an endless loop") {
  ScopeFixture fixture({component("judges", "a", {{"other", text("b")}}),
                        component("judges", "b", {{"other", text("a")}})});
  CHECK_THROWS_WITH(ask(fixture.scope, "a"), Catch::Contains("[judges.a] needs itself"));
  // It leaves nothing half-made behind.
  CHECK_THROWS_WITH(ask(fixture.scope, "b"), Catch::Contains("[judges.b] needs itself"));
}

TEST_CASE("A component is made once within a stage and anew for the next") {
  const std::vector<ComponentConfig> components{component("mllms", "m"),
                                                component("judges", "one", {{"mllm", text("m")}}),
                                                component("judges", "two", {{"mllm", text("m")}})};
  ScopeFixture first(components);
  const std::string instance = ask(first.scope, "one")[0].reply;
  CHECK(instance.starts_with("instance "));
  CHECK(ask(first.scope, "two")[0].reply == instance);
  CHECK(first.scope.context().component<Judge>("one") ==
        first.scope.context().component<Judge>("one"));
  ScopeFixture second(components);
  CHECK(ask(second.scope, "one")[0].reply != instance);
}

TEST_CASE("A component has its own log, scratch folder and random streams") {
  const std::vector<ComponentConfig> components{component("judges", "one"),
                                                component("judges", "two")};
  ScopeFixture fixture(components, 7);
  const double one = *ask(fixture.scope, "one")[0].stated_overall;
  const double two = *ask(fixture.scope, "two")[0].stated_overall;
  CHECK(one != two);
  CHECK(fixture.log == "judges/one: made\njudges/two: made\n");
  CHECK(std::filesystem::exists(fixture.host.path() / "scratch" / "judges.one" / "mark"));
  ScopeFixture same(components, 7);
  CHECK(*ask(same.scope, "two")[0].stated_overall == two);  // in whatever order they are asked
  ScopeFixture other(components, 8);
  CHECK(*ask(other.scope, "two")[0].stated_overall != two);
}

TEST_CASE("A model that is held longer than its stage has its context") {
  HostFixture host;
  testing::FakeMediaStore media;
  std::string log;
  auto scope = std::make_unique<StageScope>(
      host.registry(), std::vector{component("mllms", "m")}, media, 0, host.path() / "scratch",
      [&](LogLevel, std::string_view message) { log += std::string(message) + "\n"; });
  const auto mllm = scope->context().component<Mllm>("m");
  scope.reset();
  CHECK(mllm->chat({}).status == Status::ok);
  CHECK(log.find("mllms/m: asked") != std::string::npos);
}

TEST_CASE("Every call of an MLLM is counted, whoever makes it") {
  ScopeFixture fixture({component("mllms", "m", {{"fail_every", {std::int64_t{2}}}}),
                        component("judges", "j", {{"mllm", text("m")}})});
  int told = 0;
  int failed = 0;
  fixture.scope.on_call([&](const ChatReply& reply) {
    ++told;
    failed += reply.status != Status::ok;
  });
  const auto mllm = fixture.scope.context().component<Mllm>("m");
  for (int i = 0; i < 4; ++i) {
    ChatRequest request;
    request.sampling.sample = i;
    mllm->chat(request);
  }
  ask(fixture.scope, "j");
  const CallTotals totals = fixture.scope.call_totals();
  CHECK(totals.calls == 5);
  CHECK(totals.failures == 2);
  CHECK(totals.prompt_tokens == 50);
  CHECK(totals.completion_tokens == 10);
  CHECK(told == 5);
  CHECK(failed == 2);
}

}  // namespace dt2it
