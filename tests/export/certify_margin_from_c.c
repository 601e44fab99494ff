/* Runs the signature certify_margin of a SavedModel with TensorFlow's C library and no Python:
 *
 *     certify_margin_from_c VERSION HEIGHT WIDTH CHANNELS IMAGES LABEL RADIUS MARGIN
 *
 * for five images and one with a NaN, and prints label, radius and margin of each, the latter two
 * in hexadecimal. The last arguments are the names of the tensors.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

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

enum { ROWS = 6 };

int main(int argc, char **argv) {
  int64_t shape[4] = {ROWS, atoll(argv[2]), atoll(argv[3]), atoll(argv[4])};
  size_t pixels = ROWS * shape[1] * shape[2] * shape[3];
  float *images = malloc(pixels * sizeof(float));
  for (size_t i = 0; i < pixels; i++) images[i] = (i % 7) / 8.0f;
  images[pixels - 1] = NAN;

  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status);

  TF_Output input = placed(graph, argv[5]), outputs[3];
  for (int i = 0; i < 3; i++) outputs[i] = placed(graph, argv[6 + i]);
  TF_Tensor *value = TF_NewTensor(TF_FLOAT, shape, 4, images, pixels * sizeof(float), nothing, NULL);
  TF_Tensor *answers[3] = {0};
  TF_SessionRun(session, NULL, &input, &value, 1, outputs, answers, 3, NULL, 0, NULL, status);
  check(status);

  for (int i = 0; i < ROWS; i++)
    printf("%lld %a %a\n", (long long)((int64_t *)TF_TensorData(answers[0]))[i],
           ((float *)TF_TensorData(answers[1]))[i], ((double *)TF_TensorData(answers[2]))[i]);
  return 0;
}
