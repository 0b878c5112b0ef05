// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/row_json.hpp"

#include <arrow/api.h>

#include <charconv>
#include <cmath>
#include <string_view>

namespace dt2it {
namespace {

template <class Array>
const Array& as(const arrow::Array& array) {
  return static_cast<const Array&>(array);
}

template <class Number>
void append_number(Number number, std::string& out) {
  if constexpr (std::is_floating_point_v<Number>)
    if (!std::isfinite(number)) {
      out += "null";
      return;
    }
  char text[40];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

void append_media(std::string_view bytes, std::string_view path, MediaStore& store,
                  std::string& out) {
  const Media media =
      store.put({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, path);
  out +=
      media.kind == Media::Kind::video ? R"({"kind":"video","id":")" : R"({"kind":"image","id":")";
  out += media.id + R"(","mime":")" + media.mime + R"(","width":)";
  append_number(media.width, out);
  out += R"(,"height":)";
  append_number(media.height, out);
  out += R"(,"source":)";
  append_json_string(path, out);
  out += '}';
}

// The bytes of a binary value; false for other types.
bool binary_view(const arrow::Array& column, std::int64_t row, std::string_view& bytes) {
  switch (column.type_id()) {
    case arrow::Type::BINARY: bytes = as<arrow::BinaryArray>(column).GetView(row); return true;
    case arrow::Type::LARGE_BINARY:
      bytes = as<arrow::LargeBinaryArray>(column).GetView(row);
      return true;
    case arrow::Type::BINARY_VIEW:
      bytes = as<arrow::BinaryViewArray>(column).GetView(row);
      return true;
    case arrow::Type::FIXED_SIZE_BINARY:
      bytes = as<arrow::FixedSizeBinaryArray>(column).GetView(row);
      return true;
    default: return false;
  }
}

bool string_view_of(const arrow::Array& column, std::int64_t row, std::string_view& text) {
  switch (column.type_id()) {
    case arrow::Type::STRING: text = as<arrow::StringArray>(column).GetView(row); return true;
    case arrow::Type::LARGE_STRING:
      text = as<arrow::LargeStringArray>(column).GetView(row);
      return true;
    case arrow::Type::STRING_VIEW:
      text = as<arrow::StringViewArray>(column).GetView(row);
      return true;
    default: return false;
  }
}

void append_struct(const arrow::StructArray& column, std::int64_t row, MediaStore& store,
                   std::string& out) {
  const auto bytes = column.GetFieldByName("bytes");
  const auto path = column.GetFieldByName("path");
  std::string_view data, name;
  if (bytes && path) {
    if (!path->IsNull(row)) string_view_of(*path, row, name);
    if (!bytes->IsNull(row) && binary_view(*bytes, row, data) && !data.empty())
      return append_media(data, name, store, out);
    if (name.empty())
      out += "null";
    else
      append_json_string(name, out);
    return;
  }
  out += '{';
  bool first = true;
  for (int i = 0; i < column.num_fields(); ++i) {
    const auto field = column.field(i);
    if (field->IsNull(row)) continue;
    if (!first) out += ',';
    first = false;
    append_json_string(column.struct_type()->field(i)->name(), out);
    out += ':';
    append_json(*field, row, store, out);
  }
  out += '}';
}

template <class List>
void append_list(const List& column, std::int64_t row, MediaStore& store, std::string& out) {
  out += '[';
  const auto begin = column.value_offset(row);
  for (std::int64_t i = 0; i < column.value_length(row); ++i) {
    if (i > 0) out += ',';
    append_json(*column.values(), begin + i, store, out);
  }
  out += ']';
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += "\\u00";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_json(const arrow::Array& column, std::int64_t row, MediaStore& store,
                 std::string& out) {
  std::string_view view;
  if (column.IsNull(row)) {
    out += "null";
  } else if (string_view_of(column, row, view)) {
    append_json_string(view, out);
  } else if (binary_view(column, row, view)) {
    append_media(view, "", store, out);
  } else {
    switch (column.type_id()) {
      case arrow::Type::BOOL:
        out += as<arrow::BooleanArray>(column).Value(row) ? "true" : "false";
        break;
      case arrow::Type::INT8:
        append_number(int{as<arrow::Int8Array>(column).Value(row)}, out);
        break;
      case arrow::Type::INT16: append_number(as<arrow::Int16Array>(column).Value(row), out); break;
      case arrow::Type::INT32: append_number(as<arrow::Int32Array>(column).Value(row), out); break;
      case arrow::Type::INT64: append_number(as<arrow::Int64Array>(column).Value(row), out); break;
      case arrow::Type::UINT8:
        append_number(unsigned{as<arrow::UInt8Array>(column).Value(row)}, out);
        break;
      case arrow::Type::UINT16:
        append_number(as<arrow::UInt16Array>(column).Value(row), out);
        break;
      case arrow::Type::UINT32:
        append_number(as<arrow::UInt32Array>(column).Value(row), out);
        break;
      case arrow::Type::UINT64:
        append_number(as<arrow::UInt64Array>(column).Value(row), out);
        break;
      case arrow::Type::FLOAT: append_number(as<arrow::FloatArray>(column).Value(row), out); break;
      case arrow::Type::DOUBLE:
        append_number(as<arrow::DoubleArray>(column).Value(row), out);
        break;
      case arrow::Type::LIST: append_list(as<arrow::ListArray>(column), row, store, out); break;
      case arrow::Type::LARGE_LIST:
        append_list(as<arrow::LargeListArray>(column), row, store, out);
        break;
      case arrow::Type::FIXED_SIZE_LIST:
        append_list(as<arrow::FixedSizeListArray>(column), row, store, out);
        break;
      case arrow::Type::STRUCT:
        append_struct(as<arrow::StructArray>(column), row, store, out);
        break;
      case arrow::Type::DICTIONARY: {
        const auto& dictionary = as<arrow::DictionaryArray>(column);
        append_json(*dictionary.dictionary(), dictionary.GetValueIndex(row), store, out);
        break;
      }
      default: out += "null";
    }
  }
}

}  // namespace dt2it
