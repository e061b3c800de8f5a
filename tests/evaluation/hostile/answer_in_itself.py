# fails with: RecursionError|not plain data|the program ended|time is up
def f(x):
    answer = []
    answer.append(answer)
    return answer
