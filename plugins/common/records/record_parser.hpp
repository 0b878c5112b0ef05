// SPDX-License-Identifier: Apache-2.0
#pragma once

// This software's own records from JSON: keys are the members of dt2it/types.hpp, unknown ones go
// into `extra`. People who write such files by hand may give a message's content as a plain string,
// and a media as its path.

#include <simdjson.h>

#include <filesystem>
#include <string>

#include "dt2it/media.hpp"
#include "dt2it/types.hpp"

namespace dt2it::records {

// Media that have a source but no id are put into `store`, from `root`.
struct Source {
  std::filesystem::path root;
  MediaStore& store;
};

// All throw DataError starting with `where` ("file:line").
Prompt parse_prompt(const simdjson::dom::object& record, const Source& source,
                    const std::string& where);
PreferencePair parse_pair(const simdjson::dom::object& record, const Source& source,
                          const std::string& where);
ImagePreference parse_image_preference(const simdjson::dom::object& record, const Source& source,
                                       const std::string& where);

}  // namespace dt2it::records
