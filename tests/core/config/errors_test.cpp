// SPDX-License-Identifier: Apache-2.0
// Every class of mistake gives its own message at the exact place.
#include <catch2/catch.hpp>

#include "tests/core/config/config_fixture.hpp"

namespace dt2it {
namespace {

const std::string kTop =
    "(allowed: extends, experiment, stages, answer_benchmarks, backbones, benchmarks, codecs, "
    "curators, datasets, "
    "diversity, judges, "
    "mllms, reformulators, reward_models, scorers, trainers)\n";
const std::string kElsewhere = "; plugins elsewhere: --plugin-path DIR or DT2IT_PLUGIN_PATH";

}  // namespace

TEST_CASE("Syntax, duplicate keys and unreadable files") {
  CHECK_THAT(errors_of("[mllms.a]\ntype = \n"), Catch::StartsWith("main.toml:2:8: TOML syntax: "));
  CHECK_THAT(errors_of("a = 1\nb = 2\na = 3\n"),
             Catch::StartsWith("main.toml:3:5: TOML syntax: "));  // the value
  CHECK_THAT(errors_of("[mllms.a]\n[mllms.b]\n[mllms.a]\n"),
             Catch::StartsWith("main.toml:3:1: TOML syntax: "));
  CHECK_THAT(errors_of("x = \"\xff\"\n"), Catch::StartsWith("main.toml:1:5: TOML syntax: "));
  TomlFolder folder;
  CHECK(folder.errors("none.toml") == "none.toml: there is no file none.toml\n");
}

TEST_CASE("Unknown tables, kinds and keys") {
  CHECK(errors_of("[juges.a]\ntype='rubric'\n") ==
        "main.toml:1:2: unknown table 'juges' (did you mean 'judges'? " + kTop.substr(1));
  CHECK(errors_of("frobnicate = 1\n") == "main.toml:1:1: unknown key 'frobnicate' " + kTop);
  CHECK(errors_of("stages = 1\n") ==
        "main.toml:1:10: 'stages' is an integer (a table is expected)\n");
  CHECK(errors_of("[mllms]\na = 'echo'\n") ==
        "main.toml:2:5: 'mllms.a' is a string (a table is expected)\n");
  CHECK(errors_of("[mllms.a]\ntype='echo'\ndelya=1\n") ==
        "main.toml:3:1: unknown key 'delya' in [mllms.a] of type echo (did you mean 'delay'? "
        "allowed: type, delay)\n");
  CHECK(errors_of("[experiment]\nsede=1\n") ==
        "main.toml:2:1: unknown key 'sede' in [experiment] (did you mean 'seed'? allowed: paper, "
        "about, seed, seeds, expect, "
        "rows)\n");
  CHECK(errors_of("[mllms.\"a b\"]\ntype='echo'\n") ==
        "main.toml:1:8: 'a b' is no name for a component (allowed: letters, digits, _ and -)\n");
}

TEST_CASE("Types of components") {
  CHECK(errors_of("[mllms.a]\n") ==
        "main.toml:1:8: [mllms.a] has no 'type' (allowed: endpoint, echo)\n");
  CHECK(errors_of("[mllms.a]\ntype='ekho'\n") ==
        "main.toml:2:6: there is no mllms type 'ekho' (did you mean 'echo'? allowed: endpoint, "
        "echo)" +
            kElsewhere + "\n");
  CHECK(errors_of("[mllms.a]\ntype=1\n") ==
        "main.toml:2:6: 'type' is an integer (a string is expected)\n");
  CHECK(errors_of("[stages.colect]\n") ==
        "main.toml:1:9: there is no stage type 'colect' (did you mean 'collect'? allowed: collect, "
        "score, fit)\n");
  CHECK(errors_of("[trainers.t]\ntype='native'\n") ==
        "main.toml:2:6: there is no trainers type 'native' (there are none)" + kElsewhere + "\n");
}

TEST_CASE("Wrong types, ranges, choices, missing parameters") {
  const std::string head = "[mllms.a]\ntype='endpoint'\nmodel='m'\n";
  CHECK(errors_of(head + "temperature='hot'\n") ==
        "main.toml:4:13: 'temperature' is a string (a number is expected)\n");
  CHECK(errors_of(head + "stream=1\n") ==
        "main.toml:4:8: 'stream' is an integer (a boolean is expected)\n");
  CHECK(errors_of(head + "url=1979-05-27\n") ==
        "main.toml:4:5: 'url' is a date or time (a string is expected)\n");
  CHECK(errors_of(head + "stop='x'\n") ==
        "main.toml:4:6: 'stop' is a string (a list of strings is expected)\n");
  CHECK(errors_of(head + "stop=['x', 1]\n") ==
        "main.toml:4:12: 'stop' is an integer (a string is expected)\n");
  CHECK(errors_of(head + "weights=[1]\n") ==
        "main.toml:4:9: 'weights' is a list (a table is expected)\n");
  CHECK(errors_of(head + "weights={a='b'}\n") ==
        "main.toml:4:12: 'weights' is a string (a number is expected)\n");
  CHECK(errors_of(head + "temperature=2.5\n") ==
        "main.toml:4:13: 'temperature' is 2.5, out of range (allowed: 0 to 2)\n");
  CHECK(errors_of(head + "temperature=-1\n") ==
        "main.toml:4:13: 'temperature' is -1, out of range (allowed: 0 to 2)\n");
  CHECK(errors_of(head + "temperature=inf\n") ==
        "main.toml:4:13: 'temperature' is inf (a finite number is expected)\n");
  CHECK(errors_of("[mllms.a]\ntype='echo'\ndelay=1.0\n") ==
        "main.toml:3:7: 'delay' is a number (an integer is expected)\n");
  CHECK(errors_of("[mllms.a]\ntype='endpoint'\n") ==
        "main.toml:1:8: [mllms.a] needs 'model' (a string): Help for model.\n");
  CHECK(
      errors_of(
          "[mllms.m]\ntype='echo'\n[judges.j]\ntype='rubric'\nmllm='m'\n[stages.score]\njudge='j'\n"
          "mode='pointwize'\n") ==
      "main.toml:8:6: 'mode' cannot be 'pointwize' (did you mean 'pointwise'? allowed: listwise, "
      "pointwise)\n");
  CHECK(errors_of("[experiment]\nseed=-1\n") ==
        "main.toml:2:6: 'seed' is -1, out of range (allowed: at least 0)\n");
  CHECK(errors_of("[experiment]\nseeds=[1,-2]\n") ==
        "main.toml:2:7: 'seeds' is a list (a list of integers, at least 0 is expected)\n");
  CHECK(errors_of("[experiment]\nseed='x'\npaper=2\n") ==
        "main.toml:2:6: 'seed' is a string (an integer is expected)\n"
        "main.toml:3:7: 'paper' is an integer (a string is expected)\n");
}

TEST_CASE("Environment variables") {
  const std::string head = "[mllms.a]\ntype='endpoint'\n";
  CHECK(errors_of(head + "model='${DT2IT_TEST_NOT_SET}'\n") ==
        "main.toml:3:7: the environment variable DT2IT_TEST_NOT_SET is not set\n");
  const std::string broken =
      "main.toml:3:7: ${...} is not a variable (allowed: ${NAME} or ${NAME:-default} with letters, "
      "digits and _; "
      "write $${ for a plain ${)\n";
  CHECK(errors_of(head + "model='${A'\n") == broken);
  CHECK(errors_of(head + "model='${1A}'\n") == broken);
  CHECK(errors_of(head + "model='${A B}'\n") == broken);
}

TEST_CASE("References to what does not exist or is of another kind") {
  const std::string judge = "[mllms.m]\ntype='echo'\n[judges.j]\ntype='rubric'\nmllm='m'\n";
  CHECK(errors_of(judge + "second_opinion='k'\n") ==
        "main.toml:6:16: 'second_opinion' names [judges.k], which does not exist (did you mean "
        "'j'? allowed: j)\n");
  CHECK(errors_of(judge + "second_opinion='m'\n") ==
        "main.toml:6:16: 'second_opinion' names [judges.m], which does not exist; [mllms.m] is of "
        "another kind (did "
        "you mean 'j'? allowed: j)\n");
  CHECK(errors_of(judge +
                  "[stages.score]\njudge='j'\ninputs=['colect']\n[stages.collect]\ndataset='d'\n"
                  "[datasets.d]\ntype='file'\npath='x'\n") ==
        "main.toml:8:9: 'inputs' names [stages.colect], which does not exist (did you mean "
        "'collect'? allowed: score, "
        "collect)\n");
  CHECK(errors_of("[stages.fit]\npairs='stage:pairs'\nextra=['stage:all', 'x']\n") ==
        "main.toml:2:7: 'pairs' names [stages.pairs], which does not exist (allowed: fit)\n"
        "main.toml:3:8: 'extra' names [stages.all], which does not exist (allowed: fit)\n");
}

TEST_CASE("Cycles are printed whole") {
  CHECK(
      errors_of("[mllms.m]\ntype='echo'\n[judges.a]\ntype='rubric'\nmllm='m'\nsecond_opinion='b'\n"
                "[judges.b]\ntype='rubric'\nmllm='m'\nsecond_opinion='a'\n") ==
      "main.toml:10:16: components form a cycle: [judges.a] -> [judges.b] -> [judges.a]\n");
  const std::string judge = "[mllms.m]\ntype='echo'\n[judges.j]\ntype='rubric'\nmllm='m'\n";
  CHECK(errors_of(judge + "[stages.a]\ntype='score'\njudge='j'\ninputs=['b']\n"
                          "[stages.b]\ntype='fit'\npairs='stage:a'\n") ==
        "main.toml:12:7: stages form a cycle: a -> b -> a\n");
  CHECK(errors_of("[stages.fit]\npairs='stage:fit'\n") ==
        "main.toml:2:7: stages form a cycle: fit -> fit\n");
  // Through a component: the judge reads what the stage that uses it writes.
  CHECK(errors_of(judge + "notes='stage:s'\n[stages.s]\ntype='score'\njudge='j'\n") ==
        "main.toml:6:7: stages form a cycle: s -> s\n");
  // Only within one stage, by an override there.
  CHECK(
      errors_of(
          judge +
          "[stages.s]\ntype='score'\njudge='j'\n[stages.s.with.judges.j]\nsecond_opinion='j'\n") ==
      "main.toml:10:16: components form a cycle: [judges.j] -> [judges.j]\n");
  // A part of a composite stage counts as the stage.
  CHECK(errors_of("[stages.fit]\npairs='stage:fit.first'\n") ==
        "main.toml:2:7: stages form a cycle: fit -> fit\n");
}

TEST_CASE("Overrides within a stage") {
  const std::string head =
      "[mllms.m]\ntype='echo'\n[judges.j]\ntype='rubric'\nmllm='m'\n[stages.s]\ntype='score'"
      "\njudge='j'\n";
  CHECK(errors_of(head + "[stages.s.with.judges.k]\nrounds=1\n") ==
        "main.toml:9:23: there is no [judges.k] to change (did you mean 'j'? allowed: j)\n");
  CHECK(errors_of(head + "[stages.s.with.judges.j]\nrounds=9\n") ==
        "main.toml:10:8: 'rounds' is 9, out of range (allowed: 1 to 5)\n");
  CHECK_THAT(
      errors_of(head + "[stages.s.with.juges.j]\nrounds=1\n"),
      Catch::StartsWith(
          "main.toml:9:16: unknown kind 'juges' in [stages.s.with] (did you mean 'judges'? "));
  CHECK(errors_of(head + "[stages.s.with.judges.j]\nmllm='n'\n") ==
        "main.toml:10:6: 'mllm' names [mllms.n], which does not exist (did you mean 'm'? allowed: "
        "m)\n");
  CHECK(errors_of(head + "with=3\n") ==
        "main.toml:9:6: 'with' is an integer (a table of KIND.NAME is expected)\n");
  CHECK(errors_of(head + "with.judges=3\n") ==
        "main.toml:9:13: 'judges' is an integer (a table of components is expected)\n");
  CHECK(errors_of(head + "with.judges.j=3\n") ==
        "main.toml:9:15: 'j' is an integer (a table is expected)\n");
}

TEST_CASE("extends") {
  CHECK(errors_of("\nextends='none.toml'\n") == "main.toml:2:9: there is no file none.toml\n");
  CHECK(errors_of("extends=['a']\n") ==
        "main.toml:1:9: 'extends' is a list (a string is expected: one parent file, relative to "
        "this one)\n");
  CHECK(errors_of("extends='main'\n") ==
        "main.toml:1:9: 'extends' cannot be 'main' (allowed: the path of a .toml file)\n");
  TomlFolder folder;
  folder.file("main.toml", "extends='a/b.toml'\n").file("a/b.toml", "\nextends='../main.toml'\n");
  CHECK(folder.errors() ==
        "a/b.toml:2:9: 'extends' forms a cycle: main.toml -> a/b.toml -> main.toml\n");
  folder.file("a/b.toml", "x=\n");
  CHECK_THAT(folder.errors(), Catch::StartsWith("a/b.toml:1:3: TOML syntax: "));
}

TEST_CASE("Promises and rows") {
  const auto promise = [](const std::string& text) {
    return errors_of("[experiment]\nexpect={m=" + text + "}\n");
  };
  const std::string start = "main.toml:2:11: expect of 'm': ";
  const std::string end =
      " (allowed: \"OP TARGET\", OP one of >= <= > < ==, TARGET a number, or a row beside this "
      "file with an optional + "
      "or - NUMBER)\n";
  CHECK(promise("'> 0.5'").empty());
  CHECK(promise("'>=main'").empty());
  CHECK(promise("'== main - 1e-3'").empty());
  CHECK(promise("1") == start + "it is an integer" + end);
  CHECK(promise("'0.5'") == start + "'0.5' starts with no comparison" + end);
  CHECK(promise("'>='") == start + "there is nothing to compare with" + end);
  CHECK(promise("'> main plus 2'") ==
        start + "'main plus 2' is neither a number nor a row with an offset" + end);
  CHECK(promise("'> none'") ==
        start + "there is no row 'none': no file none.toml beside this one" + end);
  CHECK(errors_of("[experiment]\nexpect=1\n") ==
        "main.toml:2:8: 'expect' is an integer (a table of \"metric\" = \"OP TARGET\" is "
        "expected)\n");
  CHECK(errors_of("[experiment]\nrows=['main.toml', 'none.toml', 3]\n") ==
        "main.toml:2:20: there is no row 'none.toml' (relative to this file)\n"
        "main.toml:2:33: a row is an integer (a string is expected: the path of a .toml file)\n");
}

TEST_CASE("Profiles") {
  TomlFolder folder;
  folder.file("profiles/mini.toml", "[mllms.a]\ntype='nope'\n")
      .file("profiles/paper.toml", "")
      .file("main.toml", "x=1\n");
  CHECK(folder.errors("main.toml", {}, "minni") ==
        "--profile minni: there is no profile 'minni' in profiles (did you mean 'mini'? allowed: "
        "mini, paper)\n");
  CHECK(folder.errors("main.toml", {}, "mini") ==
        "main.toml:1:1: unknown key 'x' " + kTop +
            "profiles/mini.toml:2:6: there is no mllms type 'nope' (allowed: endpoint, echo)" +
            kElsewhere + "\n");
  CHECK(folder.errors("main.toml", {}, "nowhere/x.toml") ==
        "--profile nowhere/x.toml: there is no file nowhere/x.toml\n");
}

TEST_CASE("--set") {
  const std::string file = "[mllms.a]\ntype='echo'\n";
  CHECK(errors_of(file, {"mllms.a.delay=3"}).empty());
  CHECK(errors_of(file, {"mllms.a.delay=30"}) ==
        "--set mllms.a.delay: 'delay' is 30, out of range (allowed: 0 to 9)\n");
  CHECK(errors_of(file, {"mllms.a.delay=soon"}) ==
        "--set mllms.a.delay: 'delay' is a string (an integer is expected)\n");
  CHECK_THAT(errors_of(file, {"mlms.a.delay=3"}),
             Catch::StartsWith("--set mlms.a.delay: unknown table 'mlms' (did you mean 'mllms'?"));
  CHECK(errors_of(file, {"mllms.a.delay"}) ==
        "--set mllms.a.delay: not understood (allowed: a.b.c=VALUE)\n");
  CHECK(errors_of(file, {"=3"}) == "--set =3: not understood (allowed: a.b.c=VALUE)\n");
  CHECK(errors_of(file, {"a b=3"}) == "--set a b=3: not understood (allowed: a.b.c=VALUE)\n");
  CHECK(errors_of(file, {"oops", "mllms.a.delay=30", "extends=x.toml"}) ==
        "--set oops: not understood (allowed: a.b.c=VALUE)\n"
        "--set mllms.a.delay: 'delay' is 30, out of range (allowed: 0 to 9)\n"
        "--set extends: 'extends' can only be written in a file\n");
  CHECK(errors_of(file, {"extends=x.toml"}) ==
        "--set extends: 'extends' can only be written in a file\n");
  CHECK(errors_of(file, {"experiment.expect.\"a.b\"=> 1"}).empty());
}

TEST_CASE("All problems at once, in file order") {
  CHECK(errors_of("[stages.fit]\nrate=7\n[mllms.a]\ntype='echo'\ndelay='x'\n[judges.j]\ntype='"
                  "rubric'\nmllm='b'\n") ==
        "main.toml:1:9: [stages.fit] needs 'pairs' (a string): Help for pairs.\n"
        "main.toml:2:6: 'rate' is 7, out of range (allowed: 0 to 1)\n"
        "main.toml:5:7: 'delay' is a string (an integer is expected)\n"
        "main.toml:8:6: 'mllm' names [mllms.b], which does not exist (did you mean 'a'? allowed: "
        "a)\n");
}

}  // namespace dt2it
