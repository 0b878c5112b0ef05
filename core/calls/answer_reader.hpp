// SPDX-License-Identifier: Apache-2.0
#pragma once

// The framing of one answer over HTTP/1.1: bytes in as they come, in whatever pieces; head and body out.

#include <boost/beast/http/basic_parser.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "dt2it/remote_mllm.hpp"

namespace dt2it {

// Not thread-safe. After State::whole or State::broken it is done with.
class AnswerReader {
 public:
  enum class State { more, whole, broken };

  // `answer` must outlive the reader and be empty. Its head and body grow; its status is there with State::whole. A body that was
  // packed (gzip) is unpacked; where that fails, status is 0 and `problem` says so.
  explicit AnswerReader(HttpAnswer& answer) : answer_(answer) { parser_.emplace(answer); }
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  // `came` may point anywhere but into the answer.
  State put(std::string_view came);
  // The connection was closed: the end of an answer whose length was not told, or too early.
  State end();

  // Something came.
  bool heard() const { return heard_; }
  // After State::whole: another request may be sent over the connection.
  bool keep() const { return !last_ && parser_->keep_alive(); }
  // After State::broken.
  const std::string& problem() const { return problem_; }

 private:
  class Parser final : public boost::beast::http::basic_parser<false> {
   public:
    explicit Parser(HttpAnswer& answer);
    bool packed() const { return packed_; }
    int status() const { return status_; }

   private:
    using text = boost::beast::string_view;
    using error_code = boost::beast::error_code;
    void on_request_impl(boost::beast::http::verb, text, text, int, error_code&) override {}
    void on_response_impl(int code, text reason, int version, error_code&) override;
    void on_field_impl(boost::beast::http::field name, text written, text value,
                       error_code&) override;
    void on_header_impl(error_code&) override {}
    void on_body_init_impl(const boost::optional<std::uint64_t>& size, error_code&) override;
    std::size_t on_body_impl(text body, error_code&) override;
    void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, text body, error_code& error) override {
      return on_body_impl(body, error);
    }
    void on_finish_impl(error_code&) override {}

    HttpAnswer& answer_;
    int status_ = 0;
    bool packed_ = false;
  };

  State finish();

  HttpAnswer& answer_;
  std::optional<Parser> parser_;
  std::string rest_;  // came, and cannot be read before more comes
  std::string problem_;
  bool heard_ = false;
  bool last_ = false;  // closed, or more came than the answer: what comes next cannot be trusted
};

}  // namespace dt2it
