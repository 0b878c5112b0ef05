// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "dt2it/params.hpp"

namespace dt2it::records {

// What the plugins that read pairs, candidates and answers out of files are told. `Texts` says what differs between carriers:
// kFile, what may be given as `file`, and kSource, how the data set is named where `source` is empty.
template <class Texts>
struct AnswerParams {
  std::filesystem::path file;
  std::string format = "auto";
  std::filesystem::path media_root;
  bool media_names = false;
  std::string source;
  std::filesystem::path dataset_info;
  std::string bad_records = "report";

  static void describe(Schema<AnswerParams>& schema) {
    schema.field("file", &AnswerParams::file, Texts::kFile).required().argument();
    schema
        .field("format", &AnswerParams::format,
               "auto: seen from each record; dt2it; sharegpt (LLaMA-Factory ranking, ms-swift); "
               "trl; llava; ratings (VLFeedback); battles (WildVision).")
        .choices({"auto", "dt2it", "sharegpt", "trl", "llava", "ratings", "battles"});
    schema.field("media_root", &AnswerParams::media_root,
                 "Folder or archive that paths of images start from, or a pattern of several "
                 "(MM-RLHF/*.zip), which are taken as one folder; empty: the folder of the file.");
    schema.field(
        "media_names", &AnswerParams::media_names,
        "Look for images by their file names alone: POVID names COCO's by a path of its own.");
    schema.field("source", &AnswerParams::source, Texts::kSource);
    schema.field("dataset_info", &AnswerParams::dataset_info,
                 "LLaMA-Factory's dataset_info.json, which names the columns; empty: the one "
                 "beside the file.");
    schema
        .field("bad_records", &AnswerParams::bad_records,
               "report: what gives no pair (it cannot be read, or is a tie) is given as a pair "
               "without a prompt, which the stage collect_pairs counts and drops; stop: a record "
               "that cannot be read is an error.")
        .choices({"report", "stop"});
  }
};

}  // namespace dt2it::records
