// SPDX-License-Identifier: Apache-2.0
#include "tests/mock_endpoint/batches.hpp"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <utility>

namespace dt2it::mock {

namespace {

using simdjson::dom::element;

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? "" : std::string(text);
}

// The file in a multipart form.
std::string uploaded(const std::string& body) {
  const std::size_t name = body.find("filename=");
  const std::size_t start = name == std::string::npos ? name : body.find("\r\n\r\n", name);
  if (start == std::string::npos) return {};
  return body.substr(start + 4, body.rfind("\r\n--") - start - 4);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    if (end > at) lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

}  // namespace

std::string Batches::describe(const Batch& batch) const {
  const auto id = [](const std::string& text) { return text.empty() ? "null" : '"' + text + '"'; };
  return fmt::format(
      R"({{"id":"{}","object":"batch","endpoint":"/v1/chat/completions","input_file_id":"{}","status":"{}","output_file_id":{},"error_file_id":{},"metadata":{},"request_counts":{{"total":{},"completed":{},"failed":0}}{}}})",
      batch.id, batch.input, batch.status, id(batch.output), id(batch.errors),
      batch.metadata.empty() ? "{}" : batch.metadata, batch.total, batch.done,
      batch.status == "failed" ? R"(,"errors":{"data":[)" + batch.problem + "]}" : "");
}

bool Batches::is_of(const Batch& batch, const std::string& model) const {
  const auto file = files_.find(batch.input);
  return file != files_.end() && file->second.find('"' + model + '"') != std::string::npos;
}

void Batches::work_on(Batch& batch, const Request& asked, const Options& options) {
  std::vector<std::string> lines = lines_of(files_[batch.input]);
  batch.total = lines.size();
  std::reverse(lines.begin(), lines.end());
  std::string output, errors;
  std::size_t number = 0;
  for (const std::string& line : lines) {
    simdjson::dom::parser parser;
    element root, body;
    if (parser.parse(line).get(root)) continue;
    Request request;
    if (root.at_key("body").get(body)) continue;
    const std::size_t start = line.find(",\"body\":") + 8;
    request.body =
        line.substr(start, line.size() - 1 - start);  // as it is, not as it would be written anew
    batch.model = text_of(body, "model");
    const std::string id = text_of(root, "custom_id");
    ++number;
    const auto refuse = [&](int status, std::string_view error) {
      errors += fmt::format(
          R"({{"id":"r{}","custom_id":"{}","response":{{"status_code":{},"request_id":"q","body":{{"error":{{{}}}}}}},"error":null}})"
          "\n",
          number, id, status, error);
    };
    if (batch.model == "mock:batch_errors" && number % 3 == 0) {
      refuse(400, R"("message":"this line is refused","type":"invalid_request_error")");
      continue;
    }
    if (batch.model == "mock:batch_echo" && number % 3 == 0) {
      std::string key = asked.authorization;
      for (std::size_t at = 0; (at = key.find('/', at)) != std::string::npos; at += 2)
        key.replace(at, 1, number % 2 == 0 ? "\\/" : "\\u002f");
      refuse(400, fmt::format(R"("message":"{} may not do this")", key));
      continue;
    }
    if (batch.model == "mock:batch_limited" && number % 3 == 0 && batches_.size() == 1) {
      refuse(429, R"("message":"too many tokens are queued","code":"rate_limit_exceeded")");
      continue;
    }
    if (batch.model == "mock:batch_quota" && number % 3 == 0) {
      refuse(429, R"("message":"You exceeded your current quota","code":"insufficient_quota")");
      continue;
    }
    if (batch.model == "mock:batch_token_name" &&
        line.find("\"max_completion_tokens\":") != std::string::npos) {
      refuse(
          400,
          R"("message":"Unrecognized request argument supplied: max_completion_tokens","param":"max_completion_tokens")");
      continue;
    }
    if (batch.model == "mock:batch_expired" && number * 2 > lines.size()) {
      errors += fmt::format(
          R"({{"id":"r{}","custom_id":"{}","response":null,"error":{{"code":"batch_expired","message":"not worked on in time"}}}})"
          "\n",
          number, id);
      continue;
    }
    ++batch.done;
    output += fmt::format(
        R"({{"id":"r{}","custom_id":"{}","response":{{"status_code":200,"request_id":"q{}","body":{}}},"error":null}})"
        "\n",
        number, id, number, chat_body(options.answer ? options.answer(request) : options.content));
  }
  if (batch.model == "mock:batch_large")
    output = R"({"custom_id":"none","pad":")" + std::string(65 << 20, 'x') + "\"}\n" + output;
  if (!output.empty()) files_[batch.output = fmt::format("file-out-{}", next_++)] = output;
  if (!errors.empty()) files_[batch.errors = fmt::format("file-err-{}", next_++)] = errors;
  batch.status = batch.model == "mock:batch_expired" ? "expired" : "completed";
}

bool Batches::handle(const Request& request, const Options& options, Answer& answer) {
  const std::string target = request.target.substr(0, request.target.find('?'));
  const std::size_t files = target.find("/files"), batches = target.find("/batches");
  if (files == std::string::npos && batches == std::string::npos) return false;
  answer = plain(
      404,
      R"({"error":{"message":"no such thing","type":"invalid_request_error","code":"not_found"}})");
  if (files != std::string::npos) {
    if (request.method == "POST") {
      const std::string id = fmt::format("file-in-{}", next_++);
      files_[id] = uploaded(request.body);
      answer =
          plain(200, fmt::format(R"({{"id":"{}","object":"file","purpose":"batch","bytes":{}}})",
                                 id, files_[id].size()));
      return true;
    }
    const std::string id = target.substr(files + 7, target.rfind('/') - files - 7);
    if (!files_.contains(id)) return true;
    if (!batches_.empty() && batches_.begin()->second.output == id &&
        batches_.begin()->second.model == "mock:batch_file_gone")
      return true;
    answer = plain(200, files_[id], "", "application/octet-stream");
    for (auto& [name, batch] : batches_)
      if (batch.output == id && batch.model == "mock:batch_partial" && batch.reads++ == 0) {
        answer.bytes.resize(answer.bytes.size() - files_[id].size() / 2);
        answer.close = true;
      }
    return true;
  }
  if (request.method == "POST" && target.ends_with("/batches")) {
    simdjson::dom::parser parser;
    element root, metadata;
    if (parser.parse(request.body).get(root)) return true;
    Batch batch;
    batch.id = fmt::format("batch-{}", next_++);
    batch.input = text_of(root, "input_file_id");
    if (!root.at_key("metadata").get(metadata)) batch.metadata = simdjson::minify(metadata);
    if (!files_.contains(batch.input)) return true;
    if (is_of(batch, "mock:batch_unmade") && !std::exchange(failed_once_, true)) {
      answer = plain(500, "<html>oops</html>", "", "text/html");
      return true;
    }
    batch.total = lines_of(files_[batch.input]).size();
    batch.status = "validating";
    if (is_of(batch, "mock:batch_failed")) {
      batch.status = "failed";
      batch.problem =
          R"({"code":"invalid_model","line":1,"message":"this model takes no batches","param":null})";
    }
    batches_[batch.id] = batch;
    answer = plain(200, describe(batch));
    if (is_of(batch, "mock:batch_unheard") && !std::exchange(failed_once_, true)) {
      answer = plain(0, "");
      answer.close = true;
    }
    return true;
  }
  if (target.ends_with("/batches")) {
    std::string list;
    // Pages of two, whatever the client asks for.
    const std::size_t after = request.target.find("after=");
    auto next = after == std::string::npos ? batches_.begin()
                                           : batches_.upper_bound(request.target.substr(after + 6));
    for (int count = 0; count < 2 && next != batches_.end(); ++count, ++next)
      list += (list.empty() ? "" : ",") + describe(next->second);
    const bool more = next != batches_.end();
    answer =
        plain(200, fmt::format(R"({{"object":"list","data":[{}],"has_more":{}}})", list, more));
    return true;
  }
  const auto found = batches_.find(target.substr(batches + 9));
  if (found == batches_.end()) return true;
  Batch& batch = found->second;
  if (batch.status == "validating") {
    std::size_t at_work = batch.total;
    for (const auto& [id, other] : batches_)
      if (other.status == "in_progress") at_work += other.total;
    const bool fits =
        options.batch_queue < 0 || at_work <= static_cast<std::size_t>(options.batch_queue);
    batch.status = fits ? "in_progress" : "failed";
    batch.problem =
        R"({"code":"token_limit_exceeded","line":null,"message":"Enqueued token limit reached","param":null})";
  } else if (batch.status == "in_progress" && ++batch.looks >= 1) {
    work_on(batch, request, options);
  }
  answer = plain(200, is_of(batch, "mock:batch_stateless")
                          ? fmt::format(R"({{"id":"{}","object":"batch"}})", batch.id)
                          : describe(batch));
  return true;
}

}  // namespace dt2it::mock
