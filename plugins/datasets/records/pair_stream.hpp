// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "dt2it/stream.hpp"
#include "plugins/datasets/records/answer_parser.hpp"

namespace dt2it::records {

// The pairs of a stream of answers; a record that is none throws DataError.
class PairStream final : public Stream<PreferencePair> {
 public:
  PairStream(std::unique_ptr<Stream<AnswerRecord>> answers, std::string source)
      : answers_(std::move(answers)), source_(std::move(source)) {}
  bool next(PreferencePair& pair) override {
    AnswerRecord record;
    if (!answers_->next(record)) return false;
    pair = pair_of(std::move(record), source_);
    return true;
  }

 private:
  std::unique_ptr<Stream<AnswerRecord>> answers_;
  const std::string source_;
};

}  // namespace dt2it::records
