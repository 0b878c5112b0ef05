// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <iostream>
#include <map>
#include <set>

#include "core/calls/call_store.hpp"
#include "core/cli/verbs.hpp"
#include "core/data/names.hpp"
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/error.hpp"
#include "dt2it/request_key.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

using simdjson::dom::element;

// One line of an export: what mllms/replay reads, and the rest of the record, for import.
std::string line_of(const StoredCall& call) {
  JsonWriter json;
  json.begin_object();
  json.key("key").value(request_key_of(call.request)).key("call").value(hex_of(call.key));
  json.key("model_asked").value(call.model).key("identity").value(call.identity);
  json.key("purpose").value(call.purpose).key("status").value(to_string(call.reply.status));
  json.key("text").value(call.reply.text).key("finish_reason").value(call.reply.finish_reason);
  json.key("model").value(call.reply.model);
  if (!call.reply.detail.empty()) json.key("detail").value(call.reply.detail);
  json.key("prompt_tokens").value(call.reply.usage.prompt_tokens);
  json.key("cached_tokens").value(call.reply.usage.cached_tokens);
  json.key("completion_tokens").value(call.reply.usage.completion_tokens);
  json.key("usage_known").value(call.usage_known).key("cost").value(call.cost);
  json.key("seconds").value(call.seconds).key("time").value(call.time);
  json.key("request_id").value(call.request_id).key("request").value(call.request);
  json.key("answer").value(call.answer);
  json.end_object();
  return json.text();
}

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? "" : std::string(text);
}

template <class Number>
Number number_of(const element& object, const char* key) {
  Number number{};
  return object.at_key(key).get(number) ? Number{} : number;
}

StoredCall call_of(const element& line, const std::string& place) {
  StoredCall call;
  call.identity = text_of(line, "identity");
  call.request = text_of(line, "request");
  call.key = key_of_hex(text_of(line, "call"));
  if (call.key.empty() || call.key != call_key(call.identity, call.request))
    throw DataError(place +
                    ": not a line of an export, or changed: its \"call\" is not the hash of its "
                    "\"identity\" and \"request\"");
  call.model = text_of(line, "model_asked");
  call.purpose = text_of(line, "purpose");
  const auto status = value_named<Status>(kStatusNames, text_of(line, "status"));
  constexpr std::array kStored{Status::ok, Status::unparsed, Status::refused, Status::truncated};
  if (!status || std::ranges::find(kStored, *status) == kStored.end())
    throw DataError(place + ": \"status\" must be ok, unparsed, refused or truncated");
  call.reply.status = *status;
  call.reply.text = text_of(line, "text");
  call.reply.finish_reason = text_of(line, "finish_reason");
  call.reply.model = text_of(line, "model");
  call.reply.detail = text_of(line, "detail");
  call.reply.usage = {number_of<std::int64_t>(line, "prompt_tokens"),
                      number_of<std::int64_t>(line, "cached_tokens"),
                      number_of<std::int64_t>(line, "completion_tokens")};
  call.usage_known = number_of<bool>(line, "usage_known");
  call.cost = number_of<double>(line, "cost");
  call.seconds = number_of<double>(line, "seconds");
  call.time = number_of<std::int64_t>(line, "time");
  call.request_id = text_of(line, "request_id");
  call.answer = text_of(line, "answer");
  return call;
}

void list(CallStore& store, const CallFilter& filter) {
  std::cout << fmt::format("{:<16}  {:<16}  {:<24}  {:<12}  {:<11}  {:>7}  {:>7}  {:>9}\n", "call",
                           "when (UTC)", "model", "purpose", "status", "in", "out", "cost");
  std::int64_t count = 0;
  store.each(filter, [&](const StoredCall& call) {
    ++count;
    std::cout << fmt::format(
        "{}  {:%Y-%m-%d %H:%M}  {:<24}  {:<12}  {:<11}  {:>7}  {:>7}  {:>9.5f}\n",
        hex_of(call.key).substr(0, 16), fmt::gmtime(static_cast<std::time_t>(call.time)),
        call.model, call.purpose, to_string(call.reply.status), call.reply.usage.prompt_tokens,
        call.reply.usage.completion_tokens, call.cost);
  });
  std::cout << fmt::format("{} of {} calls\n", count, store.count());
}

void show(CallStore& store, const std::string& prefix) {
  if (prefix.size() < 4)
    throw ConfigError(
        "dt2it calls show: at least four digits of a call are needed (see dt2it calls ls)");
  bool found = false;
  store.each({.key_prefix = prefix}, [&](const StoredCall& call) {
    found = true;
    std::cout << fmt::format(
        "call      {}\nidentity  {}\npurpose   {}\nstatus    {}{}{}\nserved    {} ({})\nusage     "
        "{} in ({} cached), {} out{}\ncost      {:.6f}\nseconds   {:.3f}\nrequest   {}\nanswer    "
        "{}\n\n",
        hex_of(call.key), call.identity, call.purpose, to_string(call.reply.status),
        call.reply.detail.empty() ? "" : ": ", call.reply.detail, call.reply.model,
        call.request_id.empty() ? "no request id" : call.request_id, call.reply.usage.prompt_tokens,
        call.reply.usage.cached_tokens, call.reply.usage.completion_tokens,
        call.usage_known ? "" : " (estimated)", call.cost, call.seconds, call.request, call.answer);
  });
  if (!found)
    throw DataError(fmt::format("{}: no call begins with {}", store.file().string(), prefix));
}

void import(CallStore& store, const fs::path& file) {
  JsonLineReader lines(file);
  element line;
  std::vector<StoredCall> calls;
  const std::int64_t before = store.count();
  std::int64_t read = 0;
  const auto put = [&] {
    std::vector<const StoredCall*> records;
    for (const StoredCall& call : calls) records.push_back(&call);
    store.put(records);
    calls.clear();
  };
  while (lines.next(line)) {
    calls.push_back(call_of(line, fmt::format("{}:{}", file.string(), ++read)));
    if (calls.size() == 1000) put();
  }
  put();
  std::cout << fmt::format("{} calls read, {} of them new\n", read, store.count() - before);
}

}  // namespace

int calls(const Arguments& arguments) {
  fs::path runs = "runs", file;
  std::vector<std::string> words;
  CallFilter filter;
  double days = -1;
  po::options_description options("options");
  options.add_options()("words", po::value(&words), "what to do")(
      "runs", po::value(&runs)->value_name("DIR"),
      "runs folder whose calls are meant (default: runs)")(
      "calls", po::value(&file)->value_name("FILE"), "another store")(
      "model", po::value(&filter.model)->value_name("NAME"),
      "only calls of this model, as asked for")("purpose",
                                                po::value(&filter.purpose)->value_name("NAME"),
                                                "only of this purpose: candidates, listwise ...")(
      "status", po::value(&filter.status)->value_name("NAME"),
      "only of this status: ok, refused ...")(
      "identity", po::value(&filter.identity)->value_name("JSON"),
      "only of this identity, as show prints it: model, seed and all else that decides answers")(
      "older-than", po::value(&days)->value_name("DAYS"), "only calls made before that")(
      "limit", po::value(&filter.limit)->value_name("N"), "ls: the last N (default: 50; 0: all)");
  if (!parse(
          arguments, options, "words",
          "usage: dt2it calls ls [options]            list stored calls\n"
          "       dt2it calls show CALL               one call in full, by the start of its name\n"
          "       dt2it calls export FILE [options]   as JSON lines, which mllms/replay reads\n"
          "       dt2it calls import FILE             put such lines into the store\n"
          "       dt2it calls prune [options]         remove what the options choose"))
    return 0;
  const std::string verb = words.empty() ? "ls" : words[0];
  const bool takes_word = verb == "show" || verb == "export" || verb == "import";
  if (verb != "ls" && verb != "prune" && !takes_word)
    throw ConfigError(
        fmt::format("dt2it calls: '{}' (allowed: ls, show, export, import, prune)", verb));
  if (words.size() != (takes_word ? 2u : words.empty() ? 0u : 1u))
    throw ConfigError(fmt::format(
        "dt2it calls {}: {}", verb,
        takes_word ? "one word is expected behind it" : "no word is expected behind it"));
  if (file.empty()) file = layout::call_store(runs);
  if (verb != "import" && !fs::exists(file))
    throw DataError(file.string() + ": there is no such store of calls");
  if (days >= 0)
    filter.before =
        static_cast<std::int64_t>(std::time(nullptr)) - static_cast<std::int64_t>(days * 86400);
  CallStore store(file);
  if (verb == "ls") {
    if (filter.limit == 0 &&
        std::find(arguments.begin(), arguments.end(), "--limit") == arguments.end())
      filter.limit = 50;
    list(store, filter);
  } else if (verb == "show") {
    show(store, words[1]);
  } else if (verb == "export") {
    LineWriter out(words[1]);
    std::int64_t count = 0;
    filter.limit = 0;
    std::map<std::string, std::set<std::string>> identities;  // by model
    store.each(filter, [&](const StoredCall& call) {
      out.write(line_of(call));
      identities[call.model].insert(call.identity);
      ++count;
    });
    out.close();
    std::cout << fmt::format("{} calls in {}\n", count, words[1]);
    for (const auto& [model, several] : identities)
      if (several.size() > 1)
        std::cout << fmt::format(
            "{} was asked in {} ways; mllms/replay takes one of them (identity = '...'):\n  {}\n",
            model, several.size(), fmt::join(several, "\n  "));
  } else if (verb == "import") {
    import(store, words[1]);
  } else {
    if (filter.model.empty() && filter.purpose.empty() && filter.status.empty() &&
        filter.identity.empty() && filter.before == 0)
      throw ConfigError(
          "dt2it calls prune: say which (--older-than, --model, --purpose, --status, --identity)");
    std::cout << fmt::format("{} calls removed\n", store.remove(filter));
  }
  return 0;
}

}  // namespace dt2it::cli
