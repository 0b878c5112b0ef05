// SPDX-License-Identifier: Apache-2.0
#include "core/calls/answer_reader.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/core/string.hpp>
#include <memory>

#include "core/calls/channel.hpp"
#include "core/calls/http_loop.hpp"

namespace dt2it {

namespace {

namespace http = boost::beast::http;

// False: damaged, or far too long.
bool unpack(std::string& body) {
  const std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), body.data(), body.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK)
    return false;
  std::string text;
  std::array<char, 16384> part;
  la_ssize_t size = 0;
  while ((size = archive_read_data(reader.get(), part.data(), part.size())) > 0) {
    text.append(part.data(), static_cast<std::size_t>(size));
    if (text.size() > kLongestAnswer) return false;
  }
  if (size < 0) return false;
  body = std::move(text);
  return true;
}

}  // namespace

// ---------------------------------------------------------------- the parser

AnswerReader::Parser::Parser(HttpAnswer& answer) : answer_(answer) {
  eager(true);
  header_limit(kLongestHead);
  body_limit(kLongestAnswer);
}

void AnswerReader::Parser::on_response_impl(int code, text reason, int, error_code&) {
  status_ = code;
  answer_.head =
      fmt::format("HTTP/1.1 {} {}\r\n", code, std::string_view(reason.data(), reason.size()));
}

void AnswerReader::Parser::on_field_impl(http::field name, text written, text value, error_code&) {
  answer_.head.append(written.data(), written.size())
      .append(": ")
      .append(value.data(), value.size())
      .append("\r\n");
  if (name == http::field::content_encoding) packed_ = boost::beast::iequals(value, "gzip");
}

void AnswerReader::Parser::on_body_init_impl(const boost::optional<std::uint64_t>& size,
                                             error_code&) {
  if (size) answer_.body.reserve(std::min<std::uint64_t>(*size, 1 << 20));
}

std::size_t AnswerReader::Parser::on_body_impl(text body, error_code&) {
  answer_.body.append(body.data(), body.size());
  return body.size();
}

// ---------------------------------------------------------------- the reader

AnswerReader::State AnswerReader::put(std::string_view came) {
  heard_ |= !came.empty();
  if (!rest_.empty()) came = rest_.append(came);
  boost::system::error_code error;
  while (!came.empty() && !parser_->is_done()) {
    came.remove_prefix(parser_->put(boost::asio::buffer(came.data(), came.size()), error));
    if (error == http::error::need_more) break;
    if (error) {
      problem_ = error == http::error::body_limit ? too_long(kLongestAnswer)
                                                  : "the answer is no HTTP: " + error.message();
      return State::broken;
    }
    if (parser_->is_done() &&
        parser_->status() < 200) {  // 100 Continue and the like: the answer comes behind it
      answer_ = {};
      parser_.emplace(answer_);
    }
  }
  if (parser_->is_done()) {
    last_ = !came.empty();
    return finish();
  }
  rest_ = std::string(came);
  return State::more;
}

AnswerReader::State AnswerReader::end() {
  boost::system::error_code error;
  if (parser_->got_some()) parser_->put_eof(error);
  last_ = true;
  if (parser_->is_done() && !error) return finish();
  problem_ = heard_ ? "the connection was closed within the answer"
                    : "the connection was closed before an answer came";
  return State::broken;
}

AnswerReader::State AnswerReader::finish() {
  answer_.status = parser_->status();
  if (parser_->packed() && !answer_.body.empty() && !unpack(answer_.body)) {
    answer_.status = 0;
    answer_.problem = "the answer's compression is damaged";
  }
  return State::whole;
}

}  // namespace dt2it
