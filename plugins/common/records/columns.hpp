// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dt2it::records {

// Keys under which records hold things; the first one that is there counts. By default those that
// data sets of this field use; an entry of LLaMA-Factory's dataset_info.json names them itself.
struct Columns {
  std::vector<std::string> id{"id", "ID", "idx", "uid", "question_id"};
  std::vector<std::string> messages{"conversations", "messages", "conversation"};
  std::vector<std::string> system{"system"};
  std::vector<std::string> question{"prompt", "question", "query", "instruction"};
  // Alpaca: what questions under these names go on with, and the turns before them.
  std::vector<std::string> instruction{"instruction"};
  std::vector<std::string> more_question{"input"};
  std::vector<std::string> history{"history"};
  std::vector<std::string> chosen{"chosen"};
  std::vector<std::string> rejected{"rejected", "rejected_response", "rejected_messages",
                                    "rejected_conversations"};
  std::vector<std::string> answers{"responses", "candidates", "response", "answer", "output"};
  std::vector<std::string> images{"images", "image", "image_path", "img_path"};
  std::vector<std::string> rejected_images{"rejected_images"};
  std::vector<std::string> videos{"videos", "video"};
  std::vector<std::string> provenance{"dt2it"};         // what our exporters add
  std::vector<std::string> completions{"completions"};  // rated responses (VLFeedback)
  // A battle of two models (WildVision): two conversations, and who won.
  std::vector<std::string> battle{"conversation_a", "conversation_b", "winner", "model_a",
                                  "model_b"};
  std::vector<std::string> tie{"is_tie"};
  std::vector<std::string> role{"from", "role"};
  std::vector<std::string> content{"value", "content"};
  std::vector<std::string> user{"human", "user"};
  std::vector<std::string> assistant{"gpt", "assistant"};
  std::vector<std::string> system_role{"system"};

  // All keys of records (not of messages).
  std::vector<std::string> keys() const;
};

// The columns of `data` by the entry of a dataset_info.json whose file_name is that file; `info`
// empty: the one beside it, if there is one. The default where there is no such entry; DataError
// for an `info` that cannot be read, or, when it was given, does not know the file.
Columns columns_of(const std::filesystem::path& data, std::filesystem::path info);

}  // namespace dt2it::records
