/* Runs the signature certify_margin_bytes of a SavedModel with TensorFlow's C library and no Python:
 *
 *     certify_bytes_from_c VERSION IMAGE_BYTES LABEL RADIUS MARGIN FILE...
 *
 * and prints label, radius and margin of each file, the latter two in hexadecimal. The arguments
 * after the version are the names of the tensors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void nothing(void *data, size_t length, void *argument) {}

static void check(TF_Status *status) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "code %d: %s\n", TF_GetCode(status), TF_Message(status));
    exit(1);
  }
}

static TF_Output placed(TF_Graph *graph, const char *name) {
  char operation[256];
  strcpy(operation, name);
  char *colon = strrchr(operation, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  TF_Output output = {TF_GraphOperationByName(graph, operation), index};
  if (!output.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

static void read_file(const char *path, TF_TString *content) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    fprintf(stderr, "no file %s\n", path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  size_t length = ftell(file);
  rewind(file);
  char *buffer = malloc(length + 1);
  if (fread(buffer, 1, length, file) != length) exit(1);
  fclose(file);
  TF_StringInit(content);
  TF_StringCopy(content, buffer, length);
  free(buffer);
}

int main(int argc, char **argv) {
  int64_t rows = argc - 6;
  TF_TString *files = malloc(rows * sizeof(TF_TString));
  for (int64_t i = 0; i < rows; i++) read_file(argv[6 + i], &files[i]);

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output input = placed(graph, argv[2]), outputs[3];
  for (int i = 0; i < 3; i++) outputs[i] = placed(graph, argv[3 + i]);
  TF_Tensor *value =
      TF_NewTensor(TF_STRING, &rows, 1, files, rows * sizeof(TF_TString), nothing, NULL);
  TF_Tensor *answers[3] = {0};
  TF_SessionRun(session, NULL, &input, &value, 1, outputs, answers, 3, NULL, 0, NULL, status);
  check(status);

  for (int64_t i = 0; i < rows; i++)
    printf("%lld %a %a\n", (long long)((int64_t *)TF_TensorData(answers[0]))[i],
           ((float *)TF_TensorData(answers[1]))[i], ((double *)TF_TensorData(answers[2]))[i]);
  return 0;
}
