// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "dt2it/mllm.hpp"
#include "dt2it/names.hpp"
#include "dt2it/plugin.hpp"
#include "dt2it/request_key.hpp"

namespace dt2it {
namespace {

namespace json = boost::json;

// Answers from recorded calls and asks nobody. Thread-safe: nothing changes after construction.
class ReplayMllm final : public Mllm {
 public:
  struct Params {
    std::filesystem::path file;
    std::string model;
    std::string identity;
  };
  static void describe(Schema<Params>& schema) {
    schema
        .field("file", &Params::file,
               "JSON lines {\"key\": ..., \"text\": ...}, one for each recorded call.")
        .required()
        .argument();
    schema.field(
        "model", &Params::model,
        "Take only lines with this \"model_asked\": a recording of several models answers in the "
        "name of one. Empty: all lines.");
    schema.field(
        "identity", &Params::identity,
        "Take only lines with this \"identity\": where a model was asked with several seeds or "
        "settings. As dt2it calls export or an error of this model says it. Empty: all lines.");
  }

  ReplayMllm(const Params& params, Context&)
      : file_(params.file), model_(params.model), identity_(params.identity) {
    std::ifstream in(file_, std::ios::binary);
    if (!in) throw DataError(fmt::format("{}: {}", file_.string(), std::strerror(errno)));
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      read(line, number);
    }
    if (in.bad()) throw DataError(fmt::format("{}: reading stopped with an error", file_.string()));
  }

  ChatReply chat(const ChatRequest& request) override {
    const std::string key = request_key(request);
    const auto found = replies_.find(key);
    if (found != replies_.end()) return found->second;
    ChatReply reply;
    reply.status = Status::unavailable;
    reply.detail =
        fmt::format("no recorded answer for request {} ({}) in {}", key,
                    request.purpose.empty() ? "no purpose given" : request.purpose, file_.string());
    return reply;
  }

 private:
  void read(const std::string& line, std::size_t number) {
    const auto wrong = [&](const std::string& what) {
      return DataError(fmt::format("{}:{}: {}", file_.string(), number, what));
    };
    boost::system::error_code error;
    const json::value value = json::parse(line, error);
    if (error || !value.is_object()) throw wrong("this line is not a JSON object");
    const json::object& object = value.get_object();
    const auto text = [&](const char* key) -> std::string {
      const json::value* member = object.if_contains(key);
      if (member == nullptr) return {};
      if (!member->is_string()) throw wrong(fmt::format("\"{}\" must be a string", key));
      return {member->get_string().data(), member->get_string().size()};
    };
    const std::string key = text("key");
    if (key.size() != 32 || key.find_first_not_of("0123456789abcdef") != std::string::npos)
      throw wrong("\"key\" must be a string of 32 hex digits");
    if (!object.if_contains("text")) throw wrong("\"text\" is missing");
    const std::string model = text("model_asked"), identity = text("identity");
    if (!model_.empty() && model != model_) return;
    if (!identity_.empty() && identity != identity_) return;
    ChatReply reply;
    reply.status = Status::ok;
    reply.text = text("text");
    reply.model = text("model");
    reply.detail = text("detail");
    reply.finish_reason = object.if_contains("finish_reason") ? text("finish_reason") : "stop";
    if (object.if_contains("status")) {
      const auto status = value_named<Status>(kStatusNames, text("status"));
      if (!status)
        throw wrong(fmt::format("\"status\" must be one of {}", fmt::join(kStatusNames, ", ")));
      reply.status = *status;
      if (reply.status != Status::ok && reply.detail.empty())
        reply.detail = "recorded so, without a reason";
    }
    const auto count = [&](const char* name) -> std::int64_t {
      const json::value* member = object.if_contains(name);
      if (member == nullptr) return 0;
      if (!member->is_int64() || member->get_int64() < 0)
        throw wrong(fmt::format("\"{}\" must be a whole number, 0 or more", name));
      return member->get_int64();
    };
    reply.usage = {count("prompt_tokens"), count("cached_tokens"), count("completion_tokens")};
    const auto [first, is_new] = lines_.emplace(key, Line{number, model, identity});
    if (!is_new) {
      const Line& there = first->second;
      std::string what = fmt::format("key {} stands in line {}, too", key, there.number);
      const auto say = [&](const char* parameter, const std::string& one,
                           const std::string& other) {
        what += fmt::format(", of another {0}: say which by parameter '{0}', '{1}' or '{2}'",
                            parameter, one, other);
      };
      if (there.model != model)
        say("model", there.model, model);
      else if (there.identity != identity)
        say("identity", there.identity, identity);
      throw wrong(what);
    }
    replies_.emplace(key, std::move(reply));
  }

  struct Line {
    std::size_t number;
    std::string model, identity;
  };

  std::filesystem::path file_;
  std::string model_, identity_;
  std::map<std::string, ChatReply> replies_;
  std::map<std::string, Line> lines_;  // where a key was met first
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("mllms/replay", "1.2.0", registrar) {
  registrar.add<dt2it::Mllm, dt2it::ReplayMllm>("replay", "Answers from a file of recorded calls.");
}
