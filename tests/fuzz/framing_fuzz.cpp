// SPDX-License-Identifier: Apache-2.0
// Answers over HTTP/1.1 as bytes: the first byte of the input says how the rest is cut into pieces. Whatever the pieces, the same
// comes of it.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "core/calls/answer_reader.hpp"

namespace {

using namespace dt2it;

struct Read {
  AnswerReader::State state = AnswerReader::State::more;
  HttpAnswer answer;
};

Read read(std::string_view bytes, std::size_t piece) {
  Read read;
  AnswerReader reader(read.answer);
  while (read.state == AnswerReader::State::more && !bytes.empty()) {
    read.state = reader.put(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  if (read.state == AnswerReader::State::more) read.state = reader.end();
  if (read.state == AnswerReader::State::more ||
      (read.state == AnswerReader::State::broken) == reader.problem().empty())
    std::abort();
  return read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Read whole = read(bytes, bytes.size() + 1), cut = read(bytes, 1 + data[0] % 64);
  if (whole.state != cut.state) std::abort();
  if (whole.state == AnswerReader::State::whole &&
      (whole.answer.status != cut.answer.status || whole.answer.head != cut.answer.head ||
       whole.answer.body != cut.answer.body || whole.answer.problem != cut.answer.problem))
    std::abort();
  return 0;
}
