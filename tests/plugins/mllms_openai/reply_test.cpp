// SPDX-License-Identifier: Apache-2.0
#include "plugins/mllms/openai/reply.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "plugins/common/json_out.hpp"

using namespace dt2it;
using namespace dt2it::openai;
using dt2it::json_out::append_base64;
using dt2it::json_out::append_json_string;

namespace {

ChatReply read(const std::string& message, const std::string& reason = "\"stop\"") {
  return read_reply("\n \n{\"choices\":[{\"finish_reason\":" + reason + ",\"message\":" + message +
                    "}]}")
      .reply;
}

}  // namespace

TEST_CASE("errors are read in every shape") {
  CHECK(read_error(R"({"error":{"message":"m","type":"t","code":404,"param":null}})").code ==
        "404");
  CHECK(read_error(R"({"error":{"message":"m","type":"t","code":404,"param":null}})").message ==
        "m");
  CHECK(read_error(R"([{"error":{"message":"in a list"}}])").message == "in a list");
  CHECK(read_error(R"({"error":"words"})").message == "words");
  CHECK(read_error(R"({"object":"error","message":"flat","type":"BadRequestError","code":400})")
            .message == "flat");
  CHECK(read_error(R"({"detail":"details"})").message == "details");
  CHECK(read_error("<html>gateway</html>").message == "<html>gateway</html>");
  CHECK(read_error("").message.empty());
  CHECK(read_error("3").message == "3");
  CHECK(read_error("broken \xff").message == "broken \xef\xbf\xbd");
}

TEST_CASE("contents are read as servers write them") {
  CHECK(read(R"({"content":"a"})").text == "a");
  CHECK(
      read(
          R"({"content":[{"type":"text","text":"a"},{"type":"image"},{"type":"text","text":"b"}]})")
          .text == "ab");
  CHECK(read(R"({"content":"<think>hm</think>\n\nYes."})").text == "Yes.");
  CHECK(read(R"({"content":"hm</think>Yes."})").text == "Yes.");
  CHECK(read(R"({"content":"<think>hm"})").status == Status::unparsed);
  CHECK(read(R"({"content":null,"reasoning_content":"hm"})").status == Status::unparsed);
  for (const char* reason : {"null", "\"eos\"", "\"end_turn\""}) {
    CHECK(read(R"({"content":"a"})", reason).status == Status::ok);
    CHECK(read(R"({"content":"a"})", reason).finish_reason == "stop");
  }
  CHECK(read(R"({"content":"a"})", "\"abort\"").status == Status::unavailable);
  CHECK(read(R"({"content":null})", "\"tool_calls\"").status == Status::unparsed);
  CHECK(read_reply(R"({"choices":[]})").reply.status == Status::unparsed);
  CHECK(read_reply("{\"choices\":[{\"message\":{\"content\":\"a\xff\"}}]}").reply.text ==
        "a\xef\xbf\xbd");
  CHECK(read_reply("{\"choices\":[{\"mess").damaged);
  // Nobody was asked where neither an answer stands nor what it cost; a paid one is kept as it is.
  for (const char* none :
       {R"({"message":"upstream is starting"})", R"({"choices":null,"usage":null})", "{}", "[]"}) {
    CHECK(read_reply(none).damaged);
    CHECK(read_anthropic_reply(none).damaged);
  }
  for (const char* paid : {R"({"choices":[],"usage":{"prompt_tokens":7}})",
                           R"({"usage":{"prompt_tokens":7}})", R"({"choices":[{}]})"}) {
    CHECK_FALSE(read_reply(paid).damaged);
    CHECK(read_reply(paid).reply.status == Status::unparsed);
  }
  CHECK_FALSE(read_anthropic_reply(R"({"usage":{"input_tokens":7}})").damaged);
  CHECK_FALSE(read_anthropic_reply(R"({"content":"odd"})").damaged);
  CHECK_FALSE(read_reply(R"({"error":{"code":429}})").damaged);
  CHECK(read_reply(R"({"error":{"code":429}})").error_status == 429);
  CHECK(read_reply(R"({"error":{"code":"odd"}})").error_status == 502);
  const Usage usage =
      read_reply(
          R"({"choices":[{"message":{"content":"a"}}],"usage":{"prompt_tokens":"7","completion_tokens":2.0,"prompt_tokens_details":{"cached_tokens":99}}})")
          .reply.usage;
  CHECK(usage.prompt_tokens == 7);
  CHECK(usage.cached_tokens == 7);
  CHECK(usage.completion_tokens == 2);
}

TEST_CASE("base64 as in RFC 4648") {
  const auto encoded = [](const std::string& text) {
    std::string out = ">";
    append_base64(out, std::vector<std::uint8_t>(text.begin(), text.end()));
    return out;
  };
  CHECK(encoded("") == ">");
  CHECK(encoded("f") == ">Zg==");
  CHECK(encoded("fo") == ">Zm8=");
  CHECK(encoded("foobar") == ">Zm9vYmFy");
  const std::string large = encoded(std::string((3 << 20) + 1, '\0'));  // more than one block
  CHECK(large.size() == 1 + (4 << 20) + 4);
  CHECK(large.find_first_not_of("A", 1) == large.size() - 2);
  // Every length, and every value of six bits, beside an encoder that is plain to see.
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  for (int i = 0; i < 700; ++i) {
    std::string plain = ">";
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
      const auto byte = [&](std::size_t k) {
        return at + k < bytes.size()
                   ? static_cast<unsigned>(static_cast<unsigned char>(bytes[at + k]))
                   : 0u;
      };
      const unsigned word = byte(0) << 16 | byte(1) << 8 | byte(2);
      for (std::size_t k = 0; k < 4; ++k)
        plain += at + k > bytes.size() ? '=' : kLetters[word >> (18 - 6 * k) & 63];
    }
    REQUIRE(encoded(bytes) == plain);
    bytes += static_cast<char>(i * 167 + i / 7);
  }
}

TEST_CASE("strings of JSON: what must be escaped is, wherever it stands, and nothing else") {
  for (std::size_t length = 0; length < 40; ++length)
    for (std::size_t at = 0; at < length; ++at)
      for (const std::string special : {"\"", "\\", "\n", "\x01", "\x7f", "\xc3\xa9", " "}) {
        std::string text(length, 'a');
        text.replace(at, 1, special);
        std::string json, expected = "\"" + std::string(at, 'a');
        append_json_string(json, text);
        expected += special == "\""     ? "\\\""
                    : special == "\\"   ? "\\\\"
                    : special == "\n"   ? "\\u000a"
                    : special == "\x01" ? "\\u0001"
                                        : special;
        CHECK(json == expected + std::string(length - at - 1, 'a') + "\"");
      }
}
