// SPDX-License-Identifier: Apache-2.0
#include "core/util/json.hpp"

#include <simdjson.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "core/util/json_scan.hpp"
#include "core/util/value_text.hpp"
#include "dt2it/rng.hpp"

using namespace dt2it;

namespace {

std::string json_string(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

}  // namespace

TEST_CASE("JSON text has its keys in the order given and nothing superfluous") {
  JsonWriter json;
  json.begin_object()
      .key("b")
      .value(1)
      .key("a")
      .begin_array()
      .value(true)
      .null()
      .begin_object()
      .end_object();
  json.end_array().key("raw").raw("{\"x\":[1]}").key("t").value("say \"hi\"\\").end_object();
  CHECK(json.text() == R"({"b":1,"a":[true,null,{}],"raw":{"x":[1]},"t":"say \"hi\"\\"})");
}

TEST_CASE("Text is escaped only where JSON wants it") {
  CHECK(json_string(std::string_view("a\0b\x1f\n\r\t", 7)) == R"("a\u0000b\u001f\n\r\t")");
  CHECK(json_string("\u2028 \u00e9 \U0001f600") == "\"\u2028 \u00e9 \U0001f600\"");
  CHECK(json_string("\xED\xA0\xBD|\xED\xB0\x80") == R"("\ud83d|\udc00")");
  CHECK(json_string("cut \xF0\x9F\x98") == "\"cut \uFFFD\uFFFD\uFFFD\"");
  CHECK(json_string("\xC0\xAF") == "\"\uFFFD\uFFFD\"");  // an overlong form is no UTF-8
}

TEST_CASE("Strings of any bytes give JSON that a parser takes, and valid ones come back the same") {
  Rng rng(7);
  simdjson::dom::parser parser;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    const int length = rng.integer(0, 20);
    for (int k = 0; k < length; ++k)
      text += static_cast<char>(rng.below(rng.chance(0.5) ? 128 : 256));
    const std::string json = json_string(text);
    std::string_view back;
    const auto error = parser.parse(simplify_json(json)).get(back);
    REQUIRE(error == simdjson::SUCCESS);
    CHECK(json_string(unescape_json_string(json)) == json);
    if (simdjson::validate_utf8(text)) CHECK(back == text);
  }
}

TEST_CASE("Numbers read back the same") {
  Rng rng(11);
  simdjson::dom::parser parser;
  std::vector<double> numbers = {0.1 + 0.2, 1.0 / 3,
                                 -2.5e-17,  1e300,
                                 5e-324,    123456789.123456789,
                                 -0.0,      std::numeric_limits<double>::max()};
  for (int i = 0; i < 500; ++i)
    numbers.push_back(rng.normal(0, std::pow(10, rng.integer(-30, 30))));
  for (const double number : numbers) {
    JsonWriter json;
    json.value(number);
    CAPTURE(json.text());
    double back = 0;
    REQUIRE(parser.parse(json.text()).get(back) == simdjson::SUCCESS);
    CHECK(back == number);
  }
  JsonWriter json;
  json.begin_array().value(std::nan("")).value(std::numeric_limits<double>::infinity());
  json.value(std::numeric_limits<std::int64_t>::min()).end_array();
  CHECK(json.text() == "[null,null,-9223372036854775808]");
}

TEST_CASE("Members and items are found in the text") {
  const auto members = raw_members(R"( {"a" : 1.10 ,"b\"}":{"x":["}",2]} , "c":[ ] } )");
  REQUIRE(members.size() == 3);
  CHECK(members[0].key == "\"a\"");
  CHECK(members[0].value == "1.10");
  CHECK(members[1].key == R"("b\"}")");
  CHECK(members[1].value == R"({"x":["}",2]})");
  CHECK(members[2].value == "[ ]");
  const auto items = raw_items(R"([1 , "a,]" ,{"k":[]}, null])");
  REQUIRE(items.size() == 4);
  CHECK(items[1] == R"("a,]")");
  CHECK(items[2] == R"({"k":[]})");
  CHECK(items[3] == "null");
  CHECK(raw_members("{}").empty());
  CHECK(raw_items(" [ ] ").empty());
}

TEST_CASE("What simdjson refuses is put in other words; what is no JSON stays none") {
  CHECK(
      simplify_json(R"({"n":123456789012345678901,"m":-1e400,"s":"\ud800x\\ud800\ud83d\ude00"})") ==
      R"({"n":123456789012345678901e0,"m":null,"s":"\ufffdx\\ud800\ud83d\ude00"})");
  CHECK(simplify_json("[1,2.50,\"1e999\"]") == "[1,2.50,\"1e999\"]");
  CHECK(simplify_json("[01e999]") == "[01e999]");
  CHECK(simplify_json("[1.e999]") == "[1.e999]");
}

TEST_CASE("Scanning text that is no JSON stays within it and ends") {
  Rng rng(3);
  constexpr std::string_view kAlphabet = "{}[]\",:\\u1e- dD8";
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    const int length = rng.integer(0, 24);
    for (int k = 0; k < length; ++k) text += kAlphabet[rng.below(kAlphabet.size())];
    for (const RawMember& member : raw_members(text)) unescape_json_string(member.key);
    for (const std::string_view item : raw_items(text)) unescape_json_string(item);
    simplify_json(text);
  }
  SUCCEED();
}

TEST_CASE("Values as text for keys differ when the values do") {
  const Value a{Table{{"x", {std::string("1")}}, {"y", {List{{1.0}, {std::int64_t{1}}}}}}};
  CHECK(canonical(a) == canonical(Value{Table{{"y", {List{{1.0}, {std::int64_t{1}}}}},
                                              {"x", {std::string("1")}}}}));
  CHECK(canonical({1.0}) != canonical({std::int64_t{1}}));
  CHECK(canonical({std::string("1")}) != canonical({std::int64_t{1}}));
  CHECK(canonical({List{{std::string("ab")}, {std::string("")}}}) !=
        canonical({List{{std::string("a")}, {std::string("b")}}}));
  CHECK(canonical({}) != canonical({std::string()}));
  CHECK(to_json(a) == R"({"x":"1","y":[1,1]})");
}
